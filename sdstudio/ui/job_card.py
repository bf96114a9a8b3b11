"""One job as a person follows it: what it does, how far it is, its buttons, and in words why it ended."""

import time
from collections.abc import Callable
from typing import Literal

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import ENDED, Job, JobState, UserError
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
    """Show the job's card and `view(job)` below it, again and again while it lives; at its end the page runs once."""
    live = is_live(jobs.get_job(workspace, job_id))

    @st.fragment(run_every=POLL_SECONDS if live else None)
    def refresh() -> None:
        jobs.tick(workspace)
        job = jobs.get_job(workspace, job_id)
        if live and not is_live(job):
            st.rerun(scope="app")
        card(workspace, job)
        view(job)

    refresh()


def card(workspace: Workspace, job: Job) -> None:
    """The job's state, progress and end; a stop button while it lives, a resume button when it did not succeed."""
    with st.container(border=True, key=f"job-card-{job.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            color, icon = BADGES[job.state]
            st.badge(job.state, icon=icon, color=color)
            st.markdown(f"**{literal(job.title or job.kind)}**", width="stretch")
            st.caption(_times(job), width="content")
            if is_live(job):
                _stop_button(workspace, job)
            elif job.state != "succeeded":
                _resume_button(workspace, job)
        if is_live(job):
            share = min(job.done / job.total, 1.0) if job.total else 0.0
            st.progress(share, text=literal(_progress_text(job)))
        elif job.message:
            st.caption(literal(job.message))
        if job.error:
            st.error(literal(job.error), icon=":material/error:")


def _stop_button(workspace: Workspace, job: Job) -> None:
    st.button(
        "Stop",
        key=f"stop-{job.id}",
        icon=":material/stop:",
        on_click=_say_refusal,
        args=(jobs.stop_job, workspace, job.id),
        disabled=job.state == "stopping",
        help="Saves what it has and ends.",
    )


def _resume_button(workspace: Workspace, job: Job) -> None:
    st.button(
        "Resume",
        key=f"resume-{job.id}",
        icon=":material/resume:",
        on_click=_say_refusal,
        args=(jobs.resume_job, workspace, job.id),
        help="Queues it once more; it goes on from what it kept.",
    )


def _say_refusal(act: Callable[[Workspace, str], object], workspace: Workspace, job_id: str) -> None:
    try:
        act(workspace, job_id)
    except UserError as error:
        st.toast(literal(str(error)), icon=":material/error:")


def _progress_text(job: Job) -> str:
    if job.state == "queued":
        return "Waiting for its turn"
    if not job.total:
        return job.message or "Starting: the models are being loaded"
    amount = f"{job.done:,} of {job.total:,} {job.unit}".strip()
    return " · ".join(part for part in (amount, job.message, _time_left(job)) if part)


def _time_left(job: Job) -> str:
    if job.started is None or not 0 < job.done < job.total:
        return ""
    return f"about {duration((time.time() - job.started) / job.done * (job.total - job.done))} left"


def _times(job: Job) -> str:
    if job.started is None:
        return f"asked for {ago(job.created)}"
    if job.ended is None:
        return f"for {duration(time.time() - job.started)}"
    return f"{ago(job.ended)}, took {duration(job.ended - job.started)}"
