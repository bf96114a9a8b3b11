"""What pages keep between runs: names and ids, in the session and in the address, never data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from sdstudio.schema import Job, UserError
from sdstudio.ui.text import at, isolated, literal

NEW = "new"
"""What the address says in the place of a job's id while the form for another one is shown."""
_PAGES = Path(__file__).resolve().parents[2] / "pages"


def page_file(name: str) -> Path:
    """The script of a page, as `st.Page`, `st.page_link` and `st.switch_page` take it."""
    return _PAGES / f"{name}.py"


@contextmanager
def told() -> Iterator[None]:
    """Show a UserError where it happened, as the one sentence that it is."""
    try:
        yield
    except UserError as error:
        st.error(literal(str(error)), icon=":material/error:")


def in_address(name: str) -> str:
    return str(st.query_params.get(name, ""))


def put_in_address(name: str, value: str) -> None:
    """Set `?name=value`, or take it out of the address when `value` is empty."""
    if value:
        st.query_params[name] = value
    else:
        st.query_params.pop(name, None)


def say_gone(jobs: Sequence[Job], name: str, what: str) -> None:
    """Say once, in passing, that the address names as `name` what is not among `jobs`, so that another is shown."""
    wanted = in_address(name)
    if wanted and wanted not in {job.id for job in jobs}:
        put_in_address(name, "")
        st.toast(f"{what} of this address is not here any more: the newest is shown.", icon=":material/link_off:")


def choose_job(jobs: Sequence[Job], name: str, label: str) -> str:
    """A picker over `jobs` whose choice is kept in the address as `name`; returns an id, '' when there is none.

    The newest is chosen until the person, or a page that started a job, chooses another.
    """
    if not jobs:
        return ""
    titles = {job.id: f"{isolated(job.title or job.kind)} · {at(job.created)}" for job in jobs}
    key = f"choose-{name}"
    wanted = in_address(name)
    if wanted in titles and st.session_state.get(key) != wanted:
        st.session_state[key] = wanted

    def chosen() -> None:
        if in_address(name) != NEW:  # a picker that has left the page may still report its value
            put_in_address(name, st.session_state[key])

    return st.selectbox(label, list(titles), format_func=titles.__getitem__, key=key, on_change=chosen) or ""
