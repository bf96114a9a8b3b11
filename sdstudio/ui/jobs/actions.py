"""What a person can do to a job. Every button carries the job's id in its key and in what it calls, never a place."""

from collections.abc import Callable
from typing import Any, Literal

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import Job, UserError
from sdstudio.ui.jobs.describe import title_of
from sdstudio.ui.session import put_in_address, told
from sdstudio.ui.text import count, literal, size
from sdstudio.workspace import Workspace

AGAIN, DELETE = "Run again", "Delete…"
ASKED = "asked-to-delete"
"""Where the session keeps the id of the job that a question is open about."""
FIRST, LAST, OUT = "Move to the front", "Move to the end", "Take out of the queue"


def carry_out(act: Callable[..., object], *asked: Any) -> None:
    """Do it, before the page is drawn again; what is refused is said in passing."""
    try:
        act(*asked)
    except UserError as error:
        st.toast(literal(str(error)), icon=":material/error:", duration="long")


def stop_buttons(workspace: Workspace, job: Job) -> None:
    """Stop, which saves first; and stop now, which asks first. One that only waits has nothing to save."""
    st.button(
        "Stop",
        key=f"stop-{job.id}",
        icon=":material/stop:",
        on_click=carry_out,
        args=(jobs.stop_job, workspace, job.id),
        disabled=job.state == "stopping",
        help="Saves what it has and ends.",
    )
    if job.state == "queued":
        return
    with st.popover("Stop now", type="tertiary", key=f"ask-stop-now-{job.id}"):
        st.markdown("End it at once, without saving? What it did since it last saved is lost.")
        st.button(
            "Stop now",
            key=f"stop-now-{job.id}",
            icon=":material/dangerous:",
            type="primary",
            on_click=carry_out,
            args=(jobs.stop_job, workspace, job.id, True),
        )


def resume_button(workspace: Workspace, job: Job, type: Literal["secondary", "tertiary"] = "secondary") -> None:
    st.button(
        "Resume",
        key=f"resume-{job.id}",
        type=type,
        icon=":material/resume:",
        on_click=carry_out,
        args=(jobs.resume_job, workspace, job.id),
        help="Queues it once more; it goes on from what it kept.",
    )


def move_buttons(workspace: Workspace, job: Job, is_first: bool, is_last: bool) -> None:
    """Up, down, and a menu with the rest."""
    for to, icon, at_end in (("up", "arrow_upward", is_first), ("down", "arrow_downward", is_last)):
        st.button(
            "",
            key=f"{to}-{job.id}",
            icon=f":material/{icon}:",
            type="tertiary",
            help=f"Move it {to}",
            disabled=at_end,
            on_click=carry_out,
            args=(jobs.move, workspace, job.id, to),
        )
    key = f"queue-menu-{job.id}"

    def chosen() -> None:
        choice = st.session_state[key]
        if choice == OUT:
            carry_out(jobs.stop_job, workspace, job.id)
        else:
            carry_out(jobs.move, workspace, job.id, "first" if choice == FIRST else "last")

    st.menu_button("", [FIRST, LAST, OUT], key=key, icon=":material/more_vert:", type="tertiary", on_click=chosen)


def ended_menu(workspace: Workspace, job: Job) -> None:
    """Run again and delete, which `ask_to_delete` asks about."""
    key = f"menu-{job.id}"

    def chosen() -> None:
        if st.session_state[key] == DELETE:
            st.session_state[ASKED] = job.id
        else:
            carry_out(_run_again, workspace, job.id)

    st.menu_button("", [AGAIN, DELETE], key=key, icon=":material/more_vert:", type="tertiary", on_click=chosen)


def _run_again(workspace: Workspace, job_id: str) -> None:
    put_in_address("job", jobs.run_again(workspace, job_id).id)


def ask_to_delete(workspace: Workspace) -> None:
    """The question about the job that was chosen to be deleted, until it is answered; nothing when there is none."""
    job_id = st.session_state.get(ASKED, "")
    if not job_id:
        return
    try:
        job = jobs.get_job(workspace, job_id)
    except UserError:  # deleted elsewhere meanwhile
        _answered()
        return
    _question(workspace, job)


def _answered() -> None:
    st.session_state.pop(ASKED, None)


@st.dialog("Delete this job?", icon=":material/delete:", on_dismiss=_answered)
def _question(workspace: Workspace, job: Job) -> None:
    st.text(title_of(job))
    files = [path for path in job.folder.rglob("*") if path.is_file()]
    total = size(sum(path.stat().st_size for path in files))
    st.markdown(
        f"Its folder goes to the trash: **{count(len(files), 'file')}**, **{literal(total)}**. "
        "You can take that back until you empty the trash."
    )
    with st.container(horizontal=True):
        delete = st.button("Delete", key=f"delete-{job.id}", type="primary", icon=":material/delete:")
        keep = st.button("Keep it", key=f"keep-{job.id}")
    if delete:
        with told():
            jobs.delete_job(workspace, job.id)
            put_in_address("job", "")
            put_in_address("deleted", job.id)
            keep = True
    if keep:
        _answered()
        st.rerun()
