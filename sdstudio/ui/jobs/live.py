"""What runs and what waits, looked at again every few seconds; and where jobs run on this machine."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from sdstudio import jobs
from sdstudio.jobs.locks import holder
from sdstudio.schema import Job
from sdstudio.ui.job_card import card, is_live
from sdstudio.ui.jobs.actions import move_buttons
from sdstudio.ui.jobs.describe import device_line, device_text, facts, kind_icon, title_of
from sdstudio.ui.jobs.detail import numbers_line, show_log
from sdstudio.ui.jobs.results import result_link
from sdstudio.ui.session import page_file
from sdstudio.ui.text import ago, count, literal
from sdstudio.workspace import Workspace

POLL_SECONDS = 2.0
LINES = 12


def show_live(workspace: Workspace, drawn: Sequence[Job], owners: bool) -> None:
    """Running and queued jobs, with their owners where `owners`.

    When one of `drawn` ended, or another was asked for, the whole page runs once.
    """
    known = {job.id for job in drawn}

    @st.fragment(run_every=POLL_SECONDS)
    def refresh() -> None:
        jobs.tick(workspace)
        live = jobs.live_jobs(workspace)
        if {job.id for job in live} != known:
            st.rerun(scope="app")
        running = [job for job in live if job.state != "queued"]
        show_devices(workspace, running)
        show_running(workspace, running)
        show_queue(workspace, [job for job in live if job.state == "queued"], owners)

    refresh()


def show_devices(workspace: Workspace, running: Sequence[Job]) -> None:
    """Each device with what runs on it."""
    devices = jobs.devices()
    users = {device.name: _user(workspace, device.name, running) for device in devices}
    if list(users) == ["cpu"]:
        st.caption(
            ":material/memory: This machine has no GPU that the studio can use: one job at a time runs on the CPU. "
            "Imports and pushes run beside it."
        )
        if users["cpu"] and users["cpu"] not in map(title_of, running):
            st.caption(f":material/play_arrow: {literal(users['cpu'])} uses the CPU now.")
        return
    with st.grid(columns="auto", min_column_width=220, key="devices"):
        for device in devices:
            with st.container(border=True, key=f"device-{device.name}", gap="xsmall"):
                what = f" :small[:gray[{literal(device_line(device))}]]" if device_line(device) else ""
                st.markdown(f"**{literal(device_text(device.name))}**{what}")
                user = users[device.name]
                st.caption(f":material/play_arrow: {literal(user)}" if user else "free")


def _user(workspace: Workspace, device: str, running: Sequence[Job]) -> str:
    """What computes on the device: that which holds it, even where a job waits for it; '' when it is free."""
    found = holder(workspace, device)
    job = next((job for job in running if device in job.device.split(",")), None)
    return title_of(job) if job and not (found and not found.job) else found.what if found else ""


def show_running(workspace: Workspace, running: Sequence[Job]) -> None:
    if not running:
        return
    st.subheader("Running")
    for job in running:

        def foot(job: Job = job) -> None:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(numbers_line(job), width="stretch")
                result_link(job)
                details_link(job, "Details", ":material/arrow_forward:", width="content")
            with st.expander("Log", icon=":material/terminal:", key=f"log-{job.id}"):
                show_log(job, LINES)

        card(workspace, job, foot)


def show_queue(workspace: Workspace, queued: Sequence[Job], owners: bool) -> None:
    if not queued:
        return
    st.subheader(f"Queued: {len(queued):,}")
    with st.container(border=True, key="jobs-queue", gap="xsmall"):
        for place, job in enumerate(queued, start=1):
            with st.container(horizontal=True, vertical_alignment="center", key=f"job-line-{job.id}"):
                st.markdown(f":gray[{place}]", width=24)
                details_link(job, title_of(job), kind_icon(job.kind))
                st.caption(literal(f"{facts(job, owners)} · asked for {ago(job.created)}"), width="content")
                move_buttons(workspace, job, is_first=place == 1, is_last=place == len(queued))


def details_link(job: Job, label: str, icon: str, width: Literal["stretch", "content"] = "stretch") -> None:
    st.page_link(page_file("jobs"), label=literal(label), icon=icon, query_params={"job": job.id}, width=width)


def say_nothing_runs(everything: Sequence[Job]) -> None:
    """What to do when no job was ever asked for, or none is under way."""
    if any(is_live(job) for job in everything):
        return
    if everything:
        st.caption(f"Nothing runs and nothing waits; {count(len(everything), 'job')} ended.")
        return
    st.info(
        "There is no job yet. Captions, training, pictures and comparisons all become jobs when you start them; "
        "they go on when you close this page.",
        icon=":material/work_history:",
    )
    st.page_link(page_file("train"), label="Start a training", icon=":material/model_training:")
