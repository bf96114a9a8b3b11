"""Every job: what runs, what waits, what has ended and why, and what can be done about each."""

import streamlit as st

from sdstudio import jobs
from sdstudio.ui.job_card import is_live
from sdstudio.ui.jobs.actions import ask_to_delete
from sdstudio.ui.jobs.detail import show_job
from sdstudio.ui.jobs.ended import show_ended
from sdstudio.ui.jobs.live import say_nothing_runs, show_live
from sdstudio.ui.jobs.trash import show_last_deleted, show_trash
from sdstudio.ui.session import in_address
from sdstudio.workspace import current_workspace


def main() -> None:
    workspace = current_workspace()
    st.title("Jobs")
    ask_to_delete(workspace)
    if in_address("job"):
        show_job(workspace, in_address("job"))
        return
    everything, deleted = jobs.list_jobs(workspace), jobs.trash(workspace)
    owners = len({job.owner for job in everything if job.owner}) > 1
    show_last_deleted(workspace, deleted)
    show_live(workspace, [job for job in everything if is_live(job)], owners)
    say_nothing_runs(everything)
    show_ended(workspace, [job for job in everything if not is_live(job)], owners)
    show_trash(workspace, deleted)


main()
