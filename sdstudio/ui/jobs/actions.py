"""What a person can do to a job. Every button carries the job's id in its key and in what it calls, never a place."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import Job, UserError
from sdstudio.ui.hub_token import secrets_of, token_form
from sdstudio.ui.jobs.describe import title_of
from sdstudio.ui.session import put_in_address, told
from sdstudio.ui.text import count, literal, size
from sdstudio.workspace import Workspace

RESUME, AGAIN, DELETE = "Resume", "Run again", "Delete…"
ASKED = "asked-to-delete"
"""Where the session keeps the id of the job that a question is open about."""
TOKEN_FOR = "token-asked-for"
"""Where it keeps which job a token is asked for, and what then becomes of it."""
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
        RESUME,
        key=f"resume-{job.id}",
        type=type,
        icon=":material/resume:",
        on_click=carry_out,
        args=(begin, workspace, job, RESUME),
        help="Queues it once more; it goes on from what it kept.",
    )
    _ask_for_token(workspace, job, RESUME)


def move_buttons(workspace: Workspace, job: Job, is_first: bool, is_last: bool) -> None:
    """Up, down, and a menu with the rest."""
    for to, icon, at_end in (("up", "arrow_upward", is_first), ("down", "arrow_downward", is_last)):
        st.button(
            to.capitalize(),
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

    st.menu_button("More", [FIRST, LAST, OUT], key=key, icon=":material/more_vert:", type="tertiary", on_click=chosen)


def ended_menu(workspace: Workspace, job: Job) -> None:
    """Run again and delete, which `ask_to_delete` asks about."""
    key = f"menu-{job.id}"

    def chosen() -> None:
        if st.session_state[key] == DELETE:
            st.session_state[ASKED] = job.id
        else:
            carry_out(begin, workspace, job, AGAIN)

    st.menu_button("More", [AGAIN, DELETE], key=key, icon=":material/more_vert:", type="tertiary", on_click=chosen)
    _ask_for_token(workspace, job, AGAIN)


def begin(workspace: Workspace, job: Job, what: str) -> None:
    """Resume the job or run it again; one that talks to the Hub asks for its token first, which nothing has kept."""
    if jobs.may_need_token(job):
        st.session_state[TOKEN_FOR] = (job.id, what)
    else:
        BEGIN[what](workspace, job.id)


def _run_again(workspace: Workspace, job_id: str, secrets: Mapping[str, str] | None = None) -> None:
    put_in_address("job", jobs.run_again(workspace, job_id, secrets).id)


BEGIN: dict[str, Callable[..., object]] = {RESUME: jobs.resume_job, AGAIN: _run_again}


def _ask_for_token(workspace: Workspace, job: Job, what: str) -> None:
    if st.session_state.get(TOKEN_FOR) != (job.id, what):
        return

    @st.dialog(f"{what}?", icon=":material/cloud:", on_dismiss=_no_token_asked)
    def ask() -> None:
        st.text(title_of(job))
        help = "It is kept nowhere. Without one here, that of this machine's login is taken."
        token = token_form(what, help, key=f"begin-{job.id}")
        if token is not None:
            with told():
                BEGIN[what](workspace, job.id, secrets_of(token))
                _no_token_asked()
                st.rerun()

    ask()


def _no_token_asked() -> None:
    st.session_state.pop(TOKEN_FOR, None)


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
