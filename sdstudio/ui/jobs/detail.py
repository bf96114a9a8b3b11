"""One job, whole: its card, the newest numbers, its log, its settings, and what can be done with it."""

import streamlit as st

from sdstudio import jobs
from sdstudio.jobs.folder import CONFIG_FILE
from sdstudio.schema import Job, UserError
from sdstudio.ui.job_card import follow, is_live
from sdstudio.ui.jobs.actions import ended_menu
from sdstudio.ui.jobs.describe import numbers
from sdstudio.ui.jobs.results import result_link
from sdstudio.ui.session import put_in_address, told
from sdstudio.ui.text import at, literal
from sdstudio.workspace import Workspace, read_json

LINES, FIRST = 200, 3


def show_job(workspace: Workspace, job_id: str) -> None:
    """The page while the address says `job=…`."""
    put_in_address("job", job_id)  # a link within the same page does not, and a reload would lead elsewhere
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("All jobs", key="back", icon=":material/arrow_back:", on_click=put_in_address, args=("job", ""))
        try:
            job = jobs.get_job(workspace, job_id)
        except UserError:
            st.warning("This job is not here any more: it may lie in the trash.", icon=":material/delete:")
            return
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            result_link(job)
            if not is_live(job):
                ended_menu(workspace, job)
    with told():
        follow(workspace, job_id, show_details)


def show_details(job: Job) -> None:
    show_moments(job)
    show_numbers(job)
    with st.expander("Log", icon=":material/terminal:", expanded=is_live(job)):
        show_log(job, LINES)
    with st.expander("Settings", icon=":material/tune:"):
        try:
            st.json(read_json(job.folder / CONFIG_FILE))
        except UserError as error:
            st.caption(literal(str(error)))


def show_moments(job: Job) -> None:
    asked = f"Asked for {at(job.created)}" + (f" by {job.owner}" if job.owner else "")
    moments = {"started": job.started, "ended": job.ended}
    said = [asked, *(f"{name} {at(moment)}" for name, moment in moments.items() if moment is not None), job.id]
    st.caption(literal(" · ".join(said)))


def show_numbers(job: Job) -> None:
    """The newest of each number that the job wrote, such as its loss and learning rate."""
    said = numbers(jobs.latest_metrics(job))
    if not said:
        return
    with st.container(horizontal=True, key=f"numbers-{job.id}", gap="medium"):
        for name, value in said.items():
            st.metric(literal(name), value, width="content")


def numbers_line(job: Job) -> str:
    """The first of them in one line of Markdown; '' when it wrote none."""
    said = list(numbers(jobs.latest_metrics(job)).items())[:FIRST]
    return " · ".join(f"{literal(name)} **{literal(value)}**" for name, value in said)


def show_log(job: Job, lines: int) -> None:
    st.code(jobs.read_log(job, lines) or "Nothing yet.", language=None, wrap_lines=True)
