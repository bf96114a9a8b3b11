"""The tab Compare: a protocol that submits, and below it the comparison that it became."""

from collections.abc import Sequence

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.datasets import list_datasets
from sdstudio.results import read_evaluation
from sdstudio.schema import Metric, ModelRef, Protocol, SampleSettings, from_json, to_json
from sdstudio.starter.examples import starter_protocol
from sdstudio.ui.evaluate.comparison import show_evaluation, show_log
from sdstudio.ui.forms import config_form
from sdstudio.ui.job_card import follow
from sdstudio.ui.models import trained_models
from sdstudio.ui.session import choose_job, in_address, page_file, put_in_address, told
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace

NEW_TABLE = "new"


def show(workspace: Workspace) -> None:
    tables = jobs.list_jobs(workspace, "evaluate")
    if not tables or in_address("table") == NEW_TABLE:
        if tables and st.button("Back to the comparisons", icon=":material/arrow_back:", key="back"):
            put_in_address("table", "")
            st.rerun()
        show_form(workspace)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        table = choose_job(tables, "table", "Comparison")
        if st.button("New comparison", icon=":material/add:", type="primary", key="new-table"):
            put_in_address("table", NEW_TABLE)
            st.rerun()
    with told():
        follow(workspace, table, lambda job: show_log(job))
        job = jobs.get_job(workspace, table)
        if job.state == "succeeded":
            show_evaluation(workspace, job, read_evaluation(job.folder))


def show_form(workspace: Workspace) -> None:
    trained = trained_models(workspace)
    if not trained:
        st.info("There is nothing to compare yet: train a model first.", icon=":material/model_training:")
        st.page_link(page_file("train"), label="Open Train", icon=":material/arrow_forward:")
        return
    st.markdown(
        "Every model gets the same prompts with the same seeds, and so does its base model. "
        "The reference pictures are real ones that nothing was trained on.",
        width=720,
    )
    protocol = starter_protocol([])
    models = choose_models(trained)
    name = st.text_input("Name", value=protocol.name, key="evaluate.name", persist_state="session")
    prompts = lines(
        "Prompts", protocol.prompts, "One a line. '{trigger}' becomes the word that calls what the model learned."
    )
    drift = lines(
        "Prompts without the trigger",
        protocol.drift_prompts,
        "One a line; they show what else the training has changed.",
    )
    with st.grid(columns=2, min_column_width=260):
        with st.container():
            seeds = st.number_input(
                "Pictures per prompt", min_value=1, max_value=64, value=len(protocol.seeds), key="evaluate.seeds"
            )
        with st.container():
            reference = choose_reference(workspace, protocol.reference)
    metrics = choose_metrics(protocol.metrics)
    with st.expander("How pictures are drawn"):
        settings = config_form(
            SampleSettings,
            key="evaluate.settings",
            skip=("seed", "negative_prompt", "guidance"),
            defaults=to_json(protocol.settings),
        )
    each = (len(prompts) + len(drift)) * int(seeds)
    st.caption(f"This draws {count(each, 'picture')} from each trained model and from its base model.")
    if st.button("Compare", type="primary", icon=":material/analytics:", key="compare"):
        with told():
            config = Protocol(
                name=name.strip(),
                models=[trained[ref] for ref in models],
                prompts=prompts,
                drift_prompts=drift,
                seeds=list(range(1, int(seeds) + 1)),
                reference=reference,
                metrics=metrics,
                settings=from_json(SampleSettings, settings),
            )
            put_in_address("table", jobs.submit(workspace, "evaluate", config, config.name).id)
            st.rerun()


def choose_models(trained: dict[str, ModelRef]) -> list[str]:
    key, wanted = "evaluate.models", [ref for ref in in_address("model").split(",") if ref in trained]
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


def lines(label: str, default: Sequence[str], help: str) -> list[str]:
    text = st.text_area(
        f"{label}", value="\n".join(default), height=140, key=f"evaluate.{label}", help=help, persist_state="session"
    )
    return [line.strip() for line in text.splitlines() if line.strip()]


def choose_reference(workspace: Workspace, default: str) -> str:
    names = [item.name for item in list_datasets(workspace) if item.images]
    return (
        st.selectbox(
            "Reference pictures",
            names,
            index=names.index(default) if default in names else None,
            key="evaluate.reference",
            help="A dataset of real pictures in the style, or of the thing, that no model here was trained on.",
        )
        or ""
    )


def choose_metrics(default: Sequence[str]) -> list[str]:
    metrics: dict[str, Metric] = dict(registry.load("sdstudio.metrics"))
    return st.pills(
        "Measures",
        list(metrics),
        selection_mode="multi",
        default=[name for name in default if name in metrics],
        format_func=lambda name: metrics[name].label,
        key="evaluate.metrics",
        help="  \n".join(f"**{literal(metric.label)}**: {literal(metric.summary)}" for metric in metrics.values()),
    )
