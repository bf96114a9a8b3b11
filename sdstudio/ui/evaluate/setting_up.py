"""A new comparison: models, prompts, seeds, sampler, reference and measures, and what it will cost."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from sdstudio import jobs, registry, suites
from sdstudio.datasets import list_datasets, open_dataset
from sdstudio.evaluation.boards import Board, list_boards
from sdstudio.evaluation.cost import Cost, cost
from sdstudio.evaluation.protocol import TRIGGER, conditions
from sdstudio.schema import Metric, ModelRef, Protocol, SampleSettings, UserError, from_json, to_json
from sdstudio.starter.examples import starter_protocol
from sdstudio.ui.forms import config_form, fill_form
from sdstudio.ui.models import trained_models
from sdstudio.ui.placement import placement_picker
from sdstudio.ui.session import in_address, page_file, put_in_address, told
from sdstudio.ui.text import at, count, duration, literal
from sdstudio.workspace import Workspace

KEY = "evaluate"
PARTS = {"all": "All of them", "not trained on": "Those that no model here has learned from"}


def show_form(workspace: Workspace) -> None:
    trained = trained_models(workspace)
    if not trained:
        st.info("There is nothing to compare yet: train a model first.", icon=":material/model_training:")
        st.page_link(page_file("train"), label="Open Train", icon=":material/arrow_forward:")
        return
    boards = list_boards(workspace)
    st.markdown(
        "Every model gets the same prompts with the same seeds, and so does its base model. "
        "The reference pictures are real ones that nothing was trained on.",
        width=720,
    )
    usual = starter_protocol([])
    fill_from(boards, usual)
    models = choose_models(trained)
    name = st.text_input("Name", value=usual.name, key=f"{KEY}.name", persist_state="session")
    prompts, drift = choose_prompts(workspace, usual)
    with st.grid(columns=2, min_column_width=260):
        with st.container():
            seeds = st.number_input(
                "Pictures per prompt", min_value=1, max_value=1000, value=len(usual.seeds), key=f"{KEY}.seeds"
            )
        with st.container():
            first = st.number_input(
                "First seed",
                min_value=0,
                max_value=2**31 - 1,
                value=1,
                key=f"{KEY}.first",
                help="The others follow it.",
            )
    reference, snapshot, part = choose_reference(workspace, usual.reference)
    metrics = choose_metrics(usual.metrics)
    with st.expander("How pictures are drawn and looked at"):
        settings = config_form(
            SampleSettings,
            key=f"{KEY}.settings",
            skip=("seed", "guidance"),
            defaults=to_json(usual.settings),
        )
        extractor = st.text_input(
            "Encoder",
            value=usual.extractor,
            key=f"{KEY}.extractor",
            help="The CLIP model that looks at pictures and prompts: 'starter' for the starter's drawn world, else a "
            "folder or Hub id such as openai/clip-vit-large-patch14.",
        )
    each = (len(prompts) + len(drift)) * int(seeds)
    st.caption(f"This draws {count(each, 'picture')} from each trained model and from its base model.")
    with told():
        protocol = Protocol(
            name=name.strip(),
            models=[trained[ref] for ref in models],
            prompts=prompts,
            drift_prompts=drift,
            seeds=list(range(int(first), int(first) + int(seeds))),
            reference=reference,
            reference_snapshot=snapshot,
            reference_part=part,
            metrics=metrics,
            extractor=extractor.strip(),
            settings=from_json(SampleSettings, settings),
        )
        show_cost(workspace, protocol, boards)
        placement = placement_picker(workspace, KEY)
        if st.button("Compare", type="primary", icon=":material/analytics:", key="compare"):
            job = jobs.submit(workspace, "evaluate", protocol, protocol.name, placement=placement)
            put_in_address("table", job.id)
            st.rerun()


# ---------------------------------------------------------------- what it will cost


def show_cost(workspace: Workspace, protocol: Protocol, boards: Sequence[Board]) -> None:
    """What is to be drawn, what is there, for how long; and whose rows these will be ranked with."""
    try:
        found = cost(workspace, protocol)
    except UserError as error:
        st.warning(literal(str(error)), icon=":material/block:")
        return
    with st.container(key="estimate-evaluate", gap=None):
        st.markdown(f":material/timer: {literal(cost_text(found))}")
        if found.paced_by:
            st.caption(f"The time is for drawing, at the pace of “{literal(found.paced_by)}”.")
    alike = next((board for board in boards if conditions(board.protocol) == conditions(protocol)), None)
    if alike:
        st.caption(
            f":material/leaderboard: The same protocol as “{literal(alike.protocol.name)}” as long as its reference "
            f"pictures are the same: ranked together with the {count(len(alike.lines), 'model')} there."
        )


def cost_text(found: Cost) -> str:
    """'About 2 min · 464 pictures to draw, 232 there already · 664 to look at'."""
    time = [] if found.seconds is None else [f"About {duration(found.seconds)}" if found.to_draw else "No time to draw"]
    there = f", {found.found:,} there already" if found.found else ""
    drawing = f"{count(found.to_draw, 'picture')} to draw{there}"
    looking = f"{found.to_look_at:,} to look at" if found.to_look_at else "all looked at before"
    return " · ".join([*time, drawing, looking])


# ---------------------------------------------------------------- the fields


def fill_from(boards: Sequence[Board], usual: Protocol) -> None:
    """A picker that fills the form with an earlier protocol, so that new models join its rows."""
    if not boards:
        return
    by_hash = {board.hash: board for board in boards}

    def filled() -> None:
        hash = st.session_state[f"{KEY}.from"]
        fill(by_hash[hash].protocol if hash else usual)

    st.selectbox(
        "Begin from",
        list(by_hash),
        index=None,
        format_func=lambda hash: f"{by_hash[hash].protocol.name or 'Comparison'} · {hash[:12]}",
        placeholder="A protocol of your own",
        key=f"{KEY}.from",
        on_change=filled,
        help="Takes over everything but the models. What it has drawn and measured is not done again.",
    )


def fill(protocol: Protocol) -> None:
    state = st.session_state
    state[f"{KEY}.name"] = protocol.name
    state[f"{KEY}.Prompts"] = "\n".join(protocol.prompts)
    state[f"{KEY}.Prompts without the trigger"] = "\n".join(protocol.drift_prompts)
    state[f"{KEY}.seeds"], state[f"{KEY}.first"] = len(protocol.seeds), min(protocol.seeds)
    state[f"{KEY}.reference"] = protocol.reference or None
    state[f"{KEY}.snapshot"] = protocol.reference_snapshot
    state[f"{KEY}.part"] = protocol.reference_part
    state[f"{KEY}.metrics"] = protocol.metrics
    state[f"{KEY}.extractor"] = protocol.extractor
    fill_form(SampleSettings, f"{KEY}.settings", to_json(protocol.settings))


def choose_models(trained: Mapping[str, ModelRef]) -> list[str]:
    key, wanted = f"{KEY}.models", [ref for ref in in_address("model").split(",") if ref in trained]
    if wanted:
        st.session_state[key] = wanted
        put_in_address("model", "")
    return st.multiselect(
        "Models to compare with their base model",
        list(trained),
        default=None if key in st.session_state else list(trained)[:1],
        format_func=lambda ref: trained[ref].label if ref in trained else ref,
        key=key,
    )


def choose_prompts(workspace: Workspace, usual: Protocol) -> tuple[list[str], list[str]]:
    """The prompts, typed or taken from a suite, and those without the trigger."""
    found, problems = suites.list_suites(workspace)
    by_name = {suite.name: suite for suite in found}
    for problem in problems:
        st.caption(f":material/warning: {literal(problem)}")

    def taken() -> None:
        name = st.session_state[f"{KEY}.suite"]
        if name:
            st.session_state[f"{KEY}.Prompts"] = "\n".join(by_name[name].fill(TRIGGER))

    st.selectbox(
        "Prompt suite",
        list(by_name),
        index=None,
        format_func=lambda name: f"{by_name[name].title} · {count(len(by_name[name].prompts), 'prompt')}",
        placeholder="Prompts of your own",
        key=f"{KEY}.suite",
        on_change=taken,
        help="Fills the prompts below with those of the suite.",
    )
    help = "One a line. '{trigger}' becomes the word that calls what the model learned."
    prompts = lines("Prompts", usual.prompts, help)
    drift = lines(
        "Prompts without the trigger", usual.drift_prompts, "One a line; they show what else the training has changed."
    )
    return prompts, drift


def lines(label: str, default: Sequence[str], help: str) -> list[str]:
    text = st.text_area(
        label, value="\n".join(default), height=140, key=f"{KEY}.{label}", help=help, persist_state="session"
    )
    return [line.strip() for line in text.splitlines() if line.strip()]


def choose_reference(workspace: Workspace, default: str) -> tuple[str, str, str]:
    """Dataset, snapshot and part of the reference pictures."""
    names = [item.name for item in list_datasets(workspace) if item.images]
    with st.grid(columns=3, min_column_width=220):
        with st.container():
            reference = st.selectbox(
                "Reference pictures",
                names,
                index=names.index(default) if default in names else None,
                key=f"{KEY}.reference",
                help="A dataset of real pictures in the style, or of the thing, that no model here was trained on.",
            )
        if not reference:
            return "", "", "all"
        times = {"": "As it is now"}
        times |= {
            info.hash: f"{at(info.time)} · {info.hash[:8]}" for info in open_dataset(workspace, reference).snapshots()
        }
        with st.container():
            snapshot = _select("Of its pictures at", times, f"{KEY}.snapshot", times.__getitem__)
        with st.container():
            part = _select("Take", PARTS, f"{KEY}.part", PARTS.__getitem__)
    return reference, snapshot, part


def _select(label: str, options: Mapping[str, str], key: str, show: Callable[[str], str]) -> str:
    if st.session_state.get(key) not in options:
        st.session_state[key] = next(iter(options))
    return st.selectbox(label, list(options), format_func=show, key=key)


def choose_metrics(default: Sequence[str]) -> list[str]:
    metrics: dict[str, Metric] = dict(registry.load("sdstudio.metrics"))
    chosen = st.pills(
        "Measures",
        list(metrics),
        selection_mode="multi",
        default=[name for name in default if name in metrics],
        format_func=lambda name: metrics[name].label,
        key=f"{KEY}.metrics",
        help="  \n".join(f"**{literal(metric.label)}**: {literal(metric.summary)}" for metric in metrics.values()),
    )
    return chosen
