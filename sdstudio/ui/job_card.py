"""One job as a person follows it: what it does, how far it is, its buttons, and in words why it ended."""

import time
from collections.abc import Callable
from typing import Literal

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import ENDED, Job, JobState
from sdstudio.ui.jobs.actions import resume_button, stop_buttons
from sdstudio.ui.jobs.describe import end_text, facts, progress_text, share, title_of
from sdstudio.ui.text import ago, duration, literal
from sdstudio.workspace import Workspace

POLL_SECONDS = 1.5
Color = Literal["red", "orange", "blue", "green", "gray"]
BADGES: dict[JobState, tuple[Color, str]] = {
    "queued": ("gray", ":material/schedule:"),
    "starting": ("blue", ":material/hourglass_top:"),
    "running": ("blue", ":material/play_arrow:"),
    "stopping": ("orange", ":material/stop_circle:"),
    "succeeded": ("green", ":material/check:"),
    "failed": ("red", ":material/error:"),
    "cancelled": ("gray", ":material/cancel:"),
    "interrupted": ("orange", ":material/power_off:"),
}


def is_live(job: Job) -> bool:
    return job.state not in ENDED


def follow(workspace: Workspace, job_id: str, view: Callable[[Job], None]) -> None:
    """Show the job's card and `view(job)` below it, again and again while it lives.

    The page runs once at its end, and once when it is resumed from the card, which then must be looked at again.
    """
    live = is_live(jobs.get_job(workspace, job_id))

    @st.fragment(run_every=POLL_SECONDS if live else None)
    def refresh() -> None:
        jobs.tick(workspace)
        job = jobs.get_job(workspace, job_id)
        if live != is_live(job):
            st.rerun(scope="app")
        card(workspace, job)
        view(job)

    refresh()


def card(workspace: Workspace, job: Job, more: Callable[[], None] | None = None) -> None:
    """The job's state, progress and end; buttons to stop it while it lives, one to resume it when it did not succeed.

    `more` draws what a page adds at the foot of the card.
    """
    with st.container(border=True, key=f"job-card-{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"job-head-{job.id}"):
            state_badge(job)
            st.markdown(f"**{literal(title_of(job))}**", width="stretch")
            st.caption(literal(f"{facts(job)} · {times(job)}"), width="content")
            if is_live(job):
                stop_buttons(workspace, job)
            elif job.state != "succeeded":
                resume_button(workspace, job)
        if is_live(job):
            st.progress(share(job), text=literal(progress_text(job)))
        elif job.error:
            st.error(literal(end_text(job)), icon=":material/error:")
        elif job.message:
            st.caption(literal(end_text(job)))
        traceback(job)
        if more:
            more()


def state_badge(job: Job, width: int | Literal["content"] = "content") -> None:
    color, icon = BADGES[job.state]
    st.badge(job.state, icon=icon, color=color, width=width)


def traceback(job: Job) -> None:
    """Where in the code it failed, one click away; nothing when there is no such file."""
    if job.traceback is None:
        return
    with st.expander("Traceback", icon=":material/code:"):
        st.code(jobs.read_traceback(job) or "It is not there any more.", language=None, wrap_lines=True)


def times(job: Job) -> str:
    """When it was asked for, for how long it runs, or when it ended and how long it took."""
    if job.ended is not None:
        took = f", took {duration(job.ended - job.started)}" if job.started is not None else ""
        return f"{ago(job.ended)}{took}"
    if job.started is None:
        return f"asked for {ago(job.created)}"
    return f"for {duration(time.time() - job.started)}"
