"""A form made from a config dataclass: one widget a field, the advanced ones folded away."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import streamlit as st

from sdstudio.options import Field, describe, flatten, nest
from sdstudio.ui.text import literal

COLUMN_WIDTH, TEXT_WIDTH = 190, 320
"""Least width in pixels of a number or choice, and of a text; as many stand in a row as fit."""


def config_form(
    kind: type,
    key: str,
    skip: Collection[str] = (),
    advanced_label: str = "More settings",
    defaults: Mapping[str, Any] = MappingProxyType({}),
    problems: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Widgets for the fields of `kind` but those in `skip`; returns their values as `from_json` takes them.

    `skip` names fields or, for a nested config, all of its fields by its own name. `defaults` are values by field name
    that stand in place of the dataclass's own; `problems` are sentences by field name, shown under the widget. A field
    that has no meaning beside the others' values (see `when` of `option`) is left out and keeps its default. `key`
    keeps the widgets apart, and their values when the person looks at another page.
    """
    fields = [
        replace(field, default=defaults.get(field.name, field.default))
        for field in describe(kind)
        if not {field.name, field.name.split(".")[0]} & set(skip)
    ]
    values = {field.name: field.default for field in fields}
    now = {field.name: st.session_state.get(f"{key}.{field.name}", field.default) for field in fields}
    shown = [field for field in fields if field.counts(now)]
    form = _Form(key, values, problems)
    form.rows([field for field in shown if not field.advanced])
    advanced = [field for field in shown if field.advanced]
    if advanced:
        changed = sum(form.is_changed(field) for field in advanced)
        with st.expander(f"{advanced_label} · {changed} changed" if changed else advanced_label):
            _sections(form, advanced)
    return nest(values)


def _sections(form: "_Form", fields: list[Field]) -> None:
    """The fields in a tab for each section where there are several."""
    names = list(dict.fromkeys(field.section for field in fields))
    if len(names) < 2:
        form.rows(fields)
        return
    for name, tab in zip(names, st.tabs(names), strict=True):
        with tab:
            form.rows([field for field in fields if field.section == name])


def fill_form(kind: type, key: str, values: Mapping[str, Any]) -> None:
    """Set the widgets of `config_form(kind, key)` to `values`, nested as JSON; what they leave out to its default.

    For callbacks, or before the form is drawn.
    """
    given = flatten(values)
    for field in describe(kind):
        st.session_state[f"{key}.{field.name}"] = _shown(field, given.get(field.name, field.default))


@dataclass
class _Form:
    """A form that is being drawn; `values` fills up as it is."""

    key: str
    values: dict[str, Any]
    problems: Mapping[str, str]

    def rows(self, fields: list[Field]) -> None:
        """Lists of texts first, over the whole width, then texts, then the short fields, side by side."""
        for field in fields:
            if field.many and not _is_short(field):
                self._cell(field)
        self._row([field for field in fields if not field.many and not _is_short(field)], TEXT_WIDTH)
        self._row([field for field in fields if _is_short(field)], COLUMN_WIDTH)

    def _row(self, fields: list[Field], width: int) -> None:
        if fields:
            with st.grid(columns="auto", min_column_width=width, vertical_alignment="bottom"):
                for field in fields:
                    with st.container(gap=None):
                        self._cell(field)

    def is_changed(self, field: Field) -> bool:
        usual = _shown(field, field.default)
        return bool(st.session_state.get(f"{self.key}.{field.name}", usual) != usual)

    def _cell(self, field: Field) -> None:
        value = self.values[field.name] = _widget(field, f"{self.key}.{field.name}")
        problem = self.problems.get(field.name) or _refusal(field, value)
        if problem:
            st.markdown(f":red[:material/error: {literal(problem)}]")


def _refusal(field: Field, value: Any) -> str:
    """Why the field cannot have this value, in words; its widget sees to bounds and choices."""
    if field.many and field.type != "str":
        wrong = [item for item in value if not _is_number(item, field.type)]
        return f"{', '.join(wrong)}: give numbers with commas between them." if wrong else ""
    if field.type == "int" and field.step and (value - (field.low or 0)) % field.step:
        return f"It must be a multiple of {field.step:g}."
    return ""


def _is_number(text: str, type: str) -> bool:
    try:
        float(text) if type == "float" else int(text)
    except ValueError:
        return False
    return True


def _is_short(field: Field) -> bool:
    return field.type != "str" or (bool(field.choices) and not field.many)


def _shown(field: Field, value: Any) -> Any:
    """`value` as the field's widget holds it: lists as lines, an empty field where 0 stands for something."""
    if value is None:
        return None
    if field.many:
        return ("\n" if field.type == "str" else ", ").join(map(str, value))
    if field.choices:
        return str(value)
    if field.zero and value == 0:
        return None
    return float(value) if field.type == "float" else value


def _widget(field: Field, key: str) -> Any:
    label = literal(field.label) + (f" ({field.unit})" if field.unit and field.unit not in field.label.lower() else "")
    common: dict[str, Any] = {
        "label": label,
        "help": literal(field.help) or None,
        "key": key,
        "persist_state": "session",
    }
    if key not in st.session_state:
        st.session_state[key] = _shown(field, field.default)
    if field.many and field.type != "str":
        return st.text_input(placeholder=field.zero or "5, 30, 60", **common).replace(",", " ").split()
    if field.many:
        lines = st.text_area(height=100, **common)
        return [line.strip() for line in lines.splitlines() if line.strip()]
    if field.choices:
        return st.selectbox(options=field.choices, **common)
    if field.type == "bool":
        return st.toggle(**common)
    if field.type == "str":
        return st.text_input(placeholder=field.zero or None, **common)
    return _number(field, common)


def _number(field: Field, common: dict[str, Any]) -> Any:
    """A number; an empty field is 0, which `field.zero` puts in words."""
    number = int if field.type == "int" else float
    step = int(field.step or 1) if number is int else field.step or (1e-4 if "learning_rate" in field.name else 0.05)
    value = st.number_input(
        value=None,
        min_value=_as(number, field.low),
        max_value=_as(number, field.high),
        step=step,
        format=None if number is int else "%g",
        placeholder=field.zero or None,
        required=not field.zero and field.default is not None,
        **common,
    )
    return field.default if value is None and field.default is None else number(value or 0)


def _as(number: type, bound: float | None) -> Any:
    return None if bound is None else number(bound)
