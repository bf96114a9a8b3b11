"""The checkpoints of a run: which is best, and what can be done with one."""

import streamlit as st

from sdstudio import jobs
from sdstudio.models import FoundCheckpoint, list_checkpoints
from sdstudio.schema import Job
from sdstudio.ui.charts import Metrics
from sdstudio.ui.session import page_file
from sdstudio.ui.text import literal, size
from sdstudio.ui.train.filling import fill
from sdstudio.ui.train.taking_out import export_dialog, publish_dialog, show_taken_out
from sdstudio.workspace import Workspace, read_json


def best_step(metrics: Metrics) -> int | None:
    """The step with the lowest validation loss; None where none was measured."""
    measured = [(row["val_loss"], row["step"]) for row in metrics if row.get("val_loss") is not None]
    return min(measured)[1] if measured else None


def show_checkpoints(workspace: Workspace, job: Job) -> None:
    found = [checkpoint for checkpoint in list_checkpoints(workspace) if checkpoint.run == job.id]
    if not found:
        return
    losses = {row["step"]: row["val_loss"] for row in jobs.read_metrics(job) if row.get("val_loss") is not None}
    kept = [(losses[checkpoint.step], checkpoint.step) for checkpoint in found if checkpoint.step in losses]
    best = min(kept)[1] if kept else None
    st.subheader("Checkpoints")
    by_ref = {checkpoint.ref: checkpoint for checkpoint in found}
    ref = st.selectbox(
        "Checkpoint",
        list(by_ref),
        format_func=lambda ref: _label(by_ref[ref], losses.get(by_ref[ref].step), by_ref[ref].step == best),
        index=next((place for place, checkpoint in enumerate(found) if checkpoint.step == best), 0),
        key=f"checkpoint-{job.id}",
        help="★ is the one with the lowest validation loss of those that were kept.",
    )
    checkpoint = by_ref[ref]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(
            page_file("generate"),
            label="Make pictures with it",
            icon=":material/brush:",
            query_params={"model": ref},
        )
        st.page_link(
            page_file("evaluate"),
            label="Compare it with the base model",
            icon=":material/analytics:",
            query_params={"model": ref, "table": "new"},
        )
        st.button(
            "Train on from it",
            icon=":material/resume:",
            key=f"onward-{job.id}",
            type="tertiary",
            on_click=_onward,
            args=(job, ref),
            help="A second stage: a new run that begins with what this checkpoint has learned.",
        )
        if st.button("Export", icon=":material/ios_share:", key=f"export-{job.id}", type="tertiary"):
            export_dialog(workspace, ref)
        if st.button("Send to the Hub", icon=":material/cloud_upload:", key=f"publish-{job.id}", type="tertiary"):
            publish_dialog(workspace, ref)
    if checkpoint.checkpoint.trigger:
        st.caption(f"Its trigger is **{literal(checkpoint.checkpoint.trigger)}**.")
    show_taken_out(workspace, job.id)


def _label(checkpoint: FoundCheckpoint, loss: float | None, is_best: bool) -> str:
    total = sum(file.stat().st_size for file in checkpoint.path.iterdir() if file.is_file())
    parts = [f"Step {checkpoint.step:,}", size(total)]
    if loss is not None:
        parts.append(f"validation loss {loss:.4f}")
    return f"{'★ ' if is_best else ''}{' · '.join(parts)}"


def _onward(job: Job, ref: str) -> None:
    config = read_json(job.folder / "config.json")
    fill({**config, "name": "", "snapshot": "", "init_checkpoint": ref})
    st.query_params["run"] = "new"
