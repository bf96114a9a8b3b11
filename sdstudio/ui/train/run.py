"""A run while it learns and afterwards: its curves, its samples, its checkpoints, its settings and log."""

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import Job
from sdstudio.ui.charts import Metrics, loss_chart, small_chart, validation_chart
from sdstudio.ui.job_card import is_live
from sdstudio.ui.train.checkpoints import best_step, show_checkpoints
from sdstudio.ui.train.filling import fill
from sdstudio.ui.train.samples import show_samples
from sdstudio.workspace import Workspace, read_json

RATE = "lr"


def show_run(workspace: Workspace, job: Job) -> None:
    """What is drawn again and again while the run lives."""
    metrics = jobs.read_metrics(job)
    if metrics or is_live(job):
        show_curves(metrics)
    show_samples(workspace, job)
    with st.expander("Log", icon=":material/terminal:"):
        st.code(jobs.read_log(job) or "Nothing yet.", language=None, wrap_lines=True)


def show_after(workspace: Workspace, job: Job) -> None:
    """What has fields and buttons, and is drawn once."""
    show_checkpoints(workspace, job)
    show_settings(job)


def show_curves(metrics: Metrics) -> None:
    st.subheader("Loss")
    measured = any(row.get("val_loss") is not None for row in metrics)
    with st.grid(columns=2 if measured else 1, min_column_width=340):
        with st.container():
            loss_chart(metrics)
        if measured:
            with st.container():
                validation_chart(metrics, best_step(metrics))
    if not metrics:
        return
    rates = {name: "U-Net" if name == RATE else _group(name) for row in metrics[:1] for name in row if _is_rate(name)}
    with st.grid(columns="auto", min_column_width=210):
        for names, title, scale in (
            ({"grad_norm": ""}, "Gradient norm, before clipping", 1.0),
            (rates if len(rates) > 1 else {RATE: ""}, "Learning rate", 1.0),
            ({"images_per_second": ""}, "Pictures per second", 1.0),
            ({"memory_bytes": ""}, "Memory (GB)", 1e-9),
        ):
            if any(row.get(name) is not None for row in metrics for name in names):
                with st.container(gap=None):
                    small_chart(metrics, names, title, scale)


def _is_rate(name: str) -> bool:
    return name == RATE or name.startswith(f"{RATE}_")


def _group(name: str) -> str:
    return name.removeprefix(f"{RATE}_").replace("_", " ").capitalize()


def show_settings(job: Job) -> None:
    config = read_json(job.folder / "config.json")
    with st.expander("Settings", icon=":material/tune:"):
        st.button(
            "New run with these settings",
            icon=":material/content_copy:",
            key=f"copy-{job.id}",
            on_click=_copy,
            args=(config,),
        )
        st.json(config)


def _copy(config: dict[str, object]) -> None:
    fill({**config, "name": "", "snapshot": ""})
    st.query_params["run"] = "new"
