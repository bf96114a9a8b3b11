"""The form of a new run: what to learn from, by which method, for how long; checked before it starts."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.datasets import DatasetInfo, list_datasets
from sdstudio.jobs.devices import LOCAL, compute_devices
from sdstudio.jobs.estimating import plan_of
from sdstudio.jobs.kinds import get_kind
from sdstudio.models import list_checkpoints
from sdstudio.schema import LoopConfig, Method, TrainConfig, from_json
from sdstudio.training.machine import ASKING, refusals
from sdstudio.ui.estimate import show_estimate
from sdstudio.ui.forms import config_form
from sdstudio.ui.models import base_model_picker, trained_models
from sdstudio.ui.placement import placement_picker
from sdstudio.ui.session import page_file, put_in_address, told
from sdstudio.ui.text import count, literal
from sdstudio.ui.train.data import mix_form, own_side, show_dataset
from sdstudio.ui.train.filling import PREFIX
from sdstudio.ui.train.identifier import identifier_finder, teaches_subject, trigger_problem
from sdstudio.ui.train.negatives import negatives_button, takes_negatives
from sdstudio.ui.train.recipes import show_recipes
from sdstudio.ui.train.sees import show_sees
from sdstudio.ui.train.sweep import show_sweep
from sdstudio.workspace import Workspace

PLACEMENT = f"{PREFIX}.placement"


def show_form(workspace: Workspace) -> None:
    datasets = [item for item in list_datasets(workspace) if item.images]
    if not datasets:
        st.info("There is nothing to learn from yet. Bring pictures in first.", icon=":material/photo_library:")
        st.page_link(page_file("annotate"), label="Open Annotate", icon=":material/arrow_forward:")
        return
    methods: Mapping[str, Method] = registry.load("sdstudio.methods")
    with st.grid(columns=2, min_column_width=260):
        with st.container():
            dataset = choose_dataset(datasets)
        with st.container():
            base_model = base_model_picker(workspace, key=f"{PREFIX}.base_model")
    side = int(st.session_state.get(f"{PREFIX}.loop.resolution") or 0)
    show_dataset(workspace, dataset, side or own_side(workspace, base_model))
    st.subheader("Method")
    show_recipes(base_model)
    method = choose_method(methods)
    st.caption(literal(method.summary))
    if teaches_subject(method):
        with st.container(horizontal=True):
            identifier_finder(workspace, base_model, method)
            if takes_negatives(method):
                negatives_button(workspace, method)
    init_checkpoint = choose_start(workspace, method)
    options = config_form(
        method.Options,
        key=f"{PREFIX}.{method.name}",
        advanced_label=f"More settings of {method.label}",
        problems=trigger_problem(workspace, base_model, method),
    )
    st.subheader("Training")
    loop = config_form(
        LoopConfig,
        key=f"{PREFIX}.loop",
        advanced_label="More settings of the training loop",
        problems=machine_problems(),
    )
    mix = mix_form([item.name for item in datasets if item.name != dataset.name])
    name = st.text_input(
        "Name of the run", placeholder=f"{method.name} {dataset.name}", key=f"{PREFIX}.name", persist_state="session"
    )
    settings = {
        **mix,
        "name": name.strip(),
        "dataset": dataset.name,
        "base_model": base_model,
        "init_checkpoint": init_checkpoint,
        "method": method.name,
        "method_options": options,
        "loop": loop,
    }
    show_start(workspace, settings)


def machine_problems() -> dict[str, str]:
    """What the chosen device cannot do of the loop's settings, as `config_form` takes it; a cluster is not asked."""
    if st.session_state.get(f"{PLACEMENT}.backend", LOCAL) != LOCAL:
        return {}
    device = st.session_state.get(f"{PLACEMENT}.device") or compute_devices()[0]
    keys = {name: f"{PREFIX}.loop.{name}" for name in ASKING}
    asked = {name: st.session_state[key] for name, key in keys.items() if key in st.session_state}
    return refusals(LoopConfig(**asked), device)


def choose_dataset(datasets: list[DatasetInfo]) -> DatasetInfo:
    by_name = {item.name: item for item in datasets}
    key = f"{PREFIX}.dataset"
    if st.session_state.get(key) not in by_name:
        captioned = next((item for item in datasets if item.captioned == item.images), datasets[0])
        st.session_state[key] = captioned.name
    return by_name[st.selectbox("Dataset", list(by_name), key=key, persist_state="session")]


def choose_method(methods: Mapping[str, Method]) -> Method:
    key = f"{PREFIX}.method"
    if st.session_state.get(key) not in methods:
        st.session_state[key] = TrainConfig().method
    name = st.segmented_control(
        "Method",
        list(methods),
        format_func=lambda key: methods[key].label,
        required=True,
        key=key,
        persist_state="session",
        label_visibility="collapsed",
    )
    return methods[name]


def choose_start(workspace: Workspace, method: Method) -> str:
    """The checkpoint of this method to begin from; '' for the base model. Nothing is drawn where there is none."""
    labels = trained_models(workspace)
    fitting = [found.ref for found in list_checkpoints(workspace) if found.checkpoint.method == method.name]
    if not fitting:
        return ""
    key = f"{PREFIX}.init_checkpoint"
    if st.session_state.get(key, "") not in ["", *fitting]:
        st.session_state[key] = ""
    return st.selectbox(
        "Begin from",
        ["", *fitting],
        format_func=lambda ref: labels[ref].label if ref in labels else "The base model",
        key=key,
        persist_state="session",
        help="A run may go on from what an earlier run of the same method has learned: training in two stages.",
    )


def show_length(workspace: Workspace, config: TrainConfig) -> None:
    """How often the run sees its pictures, whatever its length is counted in."""
    plan = plan_of(workspace, config)
    if plan:
        passes = plan.steps / plan.steps_per_epoch
        st.caption(
            f"{count(plan.steps, 'step')} of {count(plan.pictures_per_step, 'picture')}: each picture comes about "
            f"{passes:.3g} times, one pass over all takes {plan.steps_per_epoch:.3g} steps."
        )


def show_start(workspace: Workspace, settings: Mapping[str, Any]) -> None:
    """What it will need, or in words why it cannot start; a sweep over it; the button."""
    with told():
        config = from_json(TrainConfig, settings)
        show_sees(workspace, config)
        if show_sweep(workspace, config):
            return
        placement = placement_picker(workspace, key=PLACEMENT, several=True)
        ready = False
        with told():
            get_kind("train").prepare(workspace, config)
            show_length(workspace, config)
            ready = show_estimate(workspace, "train", config, placement)
        start = st.button(
            "Start training", type="primary", icon=":material/play_arrow:", key="start", disabled=not ready
        )
        if start and ready:
            job = jobs.submit(workspace, "train", config, placement=placement)
            put_in_address("run", job.id)
            st.session_state.pop(f"{PREFIX}.name")  # the next run has a name of its own
            st.rerun()
