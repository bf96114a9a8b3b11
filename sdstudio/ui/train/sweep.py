"""A sweep over the form's settings: which to vary, how many runs that makes, how long they take."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.options import Field
from sdstudio.schema import Placement, TrainConfig
from sdstudio.training.sweeps import Cell, Plan, parse_values, plan_sweep, short_name, start_sweep, variable_fields
from sdstudio.ui.forms import COLUMN_WIDTH
from sdstudio.ui.placement import placement_picker
from sdstudio.ui.session import put_in_address
from sdstudio.ui.text import count, duration, literal
from sdstudio.ui.train.filling import PREFIX
from sdstudio.workspace import Workspace

KEY = f"{PREFIX}.sweep"
FIRST = ("method", "method_options.learning_rate", "loop.steps", "loop.seed", "method_options.rank")
"""The settings that are varied most often stand first in the list."""


def show_sweep(workspace: Workspace, config: TrainConfig) -> bool:
    """Fields, preview and button of a sweep; False while nothing is chosen to vary."""
    fields = variable_fields(config.method)
    order = [*(path for path in FIRST if path in fields), *(path for path in fields if path not in FIRST)]
    with st.expander("Sweep: one run for each combination of values", icon=":material/grid_on:"):
        chosen = st.multiselect(
            "Settings to vary",
            order,
            default=[path for path in st.session_state.get(KEY, []) if path in order],
            format_func=lambda path: _label(fields[path]),
            placeholder="None: a single run",
        )
        st.session_state[KEY] = chosen
        if not chosen:
            return False
        axes = _values([fields[path] for path in chosen])
    if not all(axes.values()):
        st.info("Give each setting that is varied two or more values.", icon=":material/grid_on:")
        return True
    plan = plan_sweep(workspace, config, axes)
    placement = placement_picker(workspace, key=f"{KEY}.placement")
    _show_plan(workspace, plan, placement)
    to_do = len(plan.to_do)
    label = f"Start {count(to_do, 'run')}" if to_do else "Look at these runs"
    if st.button(label, type="primary", icon=":material/play_arrow:", key="start-sweep"):
        varied = ", ".join(_label(fields[path]).lower() for path in chosen)
        sweep = start_sweep(workspace, plan, config.name or f"{config.dataset}: {varied}", placement)
        put_in_address("run", "")
        put_in_address("sweep", sweep.id)
        st.rerun()
    return True


def _label(field: Field) -> str:
    return short_name(field.name).replace("_", " ").capitalize()


def _values(fields: Sequence[Field]) -> dict[str, list[str]]:
    """For each field the values that were given."""
    with st.grid(columns="auto", min_column_width=COLUMN_WIDTH):
        return {field.name: _axis(field, f"{KEY}.{field.name}") for field in fields}


def _axis(field: Field, key: str) -> list[str]:
    if field.name == "method":
        methods = registry.load("sdstudio.methods")
        return st.multiselect("Method", list(methods), format_func=lambda name: methods[name].label, key=key)
    if field.choices:
        return st.multiselect(_label(field), field.choices, key=key)
    if field.type == "bool":
        return st.multiselect(_label(field), ["false", "true"], ["false", "true"], _on_off, key=key)
    typed = st.text_input(_label(field), placeholder="values, with commas", key=key, help=literal(field.help))
    return parse_values(typed)


def _on_off(value: str) -> str:
    return "on" if value == "true" else "off"


def _show_plan(workspace: Workspace, plan: Plan, placement: Placement) -> None:
    cells, to_do = len(plan.cells), plan.to_do
    shape = " × ".join(str(len(values)) for values in plan.axes.values())
    known = f", {cells - len(to_do):,} of them done or under way already" if len(to_do) < cells else ""
    st.markdown(f"**{shape} = {count(cells, 'run')}**{known}. {_time(workspace, to_do, placement)}")
    for note in plan.notes:
        st.caption(literal(note))
    with st.expander("The runs", icon=":material/list:"):
        import pandas

        lines = [
            {**{literal(name): literal(str(value)) for name, value in cell.values.items()}, "": _state(cell)}
            for cell in plan.cells
        ]
        st.table(pandas.DataFrame(lines).fillna(""), border="horizontal", hide_index=True)


def _state(cell: Cell) -> str:
    if cell.run is None:
        return "new"
    return f"{cell.run.state}, will go on" if cell.to_do else cell.run.state


def _time(workspace: Workspace, cells: Sequence[Cell], placement: Placement) -> str:
    """How long the runs that are to be done take one after another, as far as that is known."""
    estimates: list[Any] = [jobs.estimate(workspace, "train", cell.config, placement).seconds for cell in cells]
    known = [seconds for seconds in estimates if seconds is not None]
    if not known:
        return "How long they take is not known yet." if cells else ""
    rest = f", and {count(len(cells) - len(known), 'run')} of unknown length" if len(known) < len(cells) else ""
    return f"About {duration(sum(known))} one after another{rest}."
