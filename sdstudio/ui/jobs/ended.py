"""The jobs that have ended: narrowed by kind, outcome, owner and words, a page at a time."""

from collections.abc import Sequence

import streamlit as st

from sdstudio.schema import ENDED, Job
from sdstudio.ui.job_card import state_badge, times
from sdstudio.ui.jobs.actions import ended_menu, resume_button
from sdstudio.ui.jobs.describe import end_text, facts, kind_icon, kind_label, title_of
from sdstudio.ui.jobs.live import details_link
from sdstudio.ui.jobs.results import result_link
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace

PAGE_SIZE = 15
ALL = "All"
KIND, OUTCOME, OWNER, WORDS, PAGE = "kind-of-job", "ended-as", "owned-by", "in-title", "ended-page"


def show_ended(workspace: Workspace, ended: Sequence[Job], owners: bool) -> None:
    """The lines of those that are looked for, with their owners where `owners`."""
    if not ended:
        return
    st.subheader("Ended")
    found = _filtered(ended, owners)
    if not found:
        st.info("No job matches these filters.", icon=":material/filter_alt_off:")
        st.button("Show all jobs", key="show-all-jobs", on_click=_show_all)
        return
    pages = -(-len(found) // PAGE_SIZE)
    rows = st.container(border=True, key="jobs-ended", gap="xsmall")
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        page = st.pagination(pages, key=PAGE, bind="query-params") if pages > 1 else 1
        st.caption(count(len(found), "job"), width="content")
    with rows:
        for job in found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]:
            _row(workspace, job, owners)


def _filtered(ended: Sequence[Job], owners: bool) -> list[Job]:
    kinds = list(dict.fromkeys(job.kind for job in ended))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = _choice("Kind", KIND, {kind_label(kind): kind for kind in kinds})
        state = _choice("Ended as", OUTCOME, {state: state for state in ENDED})
        owner = _choice("Owner", OWNER, {job.owner: job.owner for job in ended if job.owner}) if owners else ""
        words = st.text_input(
            "Title contains",
            type="search",
            key=WORDS,
            bind="query-params",
            live="300ms",
            placeholder="Any words",
            on_change=_first_page,
        )
    wanted = (words or "").strip().casefold()
    return [
        job
        for job in ended
        if kind in ("", job.kind)
        and state in ("", job.state)
        and owner in ("", job.owner)
        and wanted in title_of(job).casefold()
    ]


def _choice(label: str, key: str, options: dict[str, str]) -> str:
    """A picker whose first choice is all; returns what is chosen, '' for all."""
    chosen = st.selectbox(label, [ALL, *options], key=key, bind="query-params", width=170, on_change=_first_page)
    return options.get(chosen or ALL, "")


def _first_page() -> None:
    st.session_state.pop(PAGE, None)
    st.query_params.pop(PAGE, None)


def _show_all() -> None:
    for key in (KIND, OUTCOME, OWNER):
        st.session_state[key] = ALL
    st.session_state[WORDS] = ""
    _first_page()


def _row(workspace: Workspace, job: Job, owners: bool) -> None:
    with st.container(key=f"job-row-{job.id}", gap=None):
        with st.container(horizontal=True, vertical_alignment="center", key=f"job-line-{job.id}"):
            state_badge(job, width=104)
            details_link(job, title_of(job), kind_icon(job.kind))
            st.caption(literal(f"{facts(job, owners)} · {times(job)}"), width="content")
            if job.state == "succeeded":
                result_link(job, short=True)
            else:
                resume_button(workspace, job, type="tertiary")
            ended_menu(workspace, job)
        if end_text(job):
            st.caption(literal(end_text(job)))
