"""What a job will need, said before it starts: time, memory, disk, or why it cannot start."""

from typing import Any

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import Estimate, JobKind, Placement, UserError
from sdstudio.ui.text import duration, literal, size
from sdstudio.workspace import Workspace


def show_estimate(workspace: Workspace, kind: JobKind, config: Any, placement: Placement) -> bool:
    """Say what the job will need, or in words why it would be refused; False when it would be."""
    try:
        estimate = jobs.estimate(workspace, kind, config, placement)
    except UserError as error:
        st.warning(literal(str(error)), icon=":material/block:")
        return False
    with st.container(key=f"estimate-{kind}", gap=None):
        st.markdown(f":material/timer: {literal(estimate_text(estimate))}")
        if estimate.notes:
            st.caption(literal(" ".join(estimate.notes)))
    if kind == "train" and None in (estimate.memory_bytes, estimate.disk_bytes):
        _offer_to_compute(workspace, config, placement)
    return True


def _offer_to_compute(workspace: Workspace, config: Any, placement: Placement) -> None:
    """A button that counts the model's layers; what it finds is remembered and shown at once."""
    if st.button(
        "Work out memory and disk",
        icon=":material/calculate:",
        key="estimate-compute",
        type="tertiary",
        help="Counts the layers of the base model; takes some seconds.",
    ):
        try:
            with st.spinner("Counting the model's layers …"):
                jobs.estimate(workspace, "train", config, placement, compute=True)
        except UserError as error:
            st.warning(literal(str(error)), icon=":material/block:")
        else:
            st.rerun()


def estimate_text(estimate: Estimate) -> str:
    """'About 3 min 5 s · 1.2 GB of memory · 120.0 MB of disk, 45.0 GB free'; what is not known is said."""
    time = "Time not known yet" if estimate.seconds is None else f"About {duration(estimate.seconds)}"
    memory = "memory not known yet" if estimate.memory_bytes is None else f"{size(estimate.memory_bytes)} of memory"
    disk = "disk not known yet" if estimate.disk_bytes is None else f"{size(estimate.disk_bytes)} of disk"
    return f"{time} · {memory} · {disk}, {size(estimate.free_bytes)} free"
