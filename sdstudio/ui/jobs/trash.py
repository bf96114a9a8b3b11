"""Deleted jobs and pictures: the last job can be taken back at once, all of them until the trash is emptied."""

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import Job
from sdstudio.ui.jobs.actions import carry_out
from sdstudio.ui.jobs.describe import facts, kind_icon, title_of
from sdstudio.ui.session import in_address
from sdstudio.ui.text import ago, count, literal
from sdstudio.workspace import Workspace

SHOWN = 50


def show_last_deleted(workspace: Workspace, deleted: list[Job]) -> None:
    """At the foot of the window: what was just deleted, with a button to take it back; gone when the page is left."""
    job = next((job for job in deleted if job.id == in_address("deleted")), None)
    if job is None:
        return
    with st.bottom, st.container(border=True, horizontal=True, vertical_alignment="center", key="last-deleted"):
        st.markdown(f":material/delete: **{literal(title_of(job))}** is in the trash.", width="stretch")
        st.button("Undo", key=f"undo-{job.id}", icon=":material/undo:", on_click=_restore, args=(workspace, job.id))


def show_trash(workspace: Workspace, deleted: list[Job]) -> None:
    pictures = jobs.deleted_pictures(workspace)
    held = [count(len(deleted), "job")] * bool(deleted) + [count(pictures, "picture")] * bool(pictures)
    if not held:
        return
    with st.expander(f"Trash: {' and '.join(held)}", icon=":material/delete:", key="trash"):
        for job in deleted[:SHOWN]:
            with st.container(horizontal=True, vertical_alignment="center", key=f"job-line-{job.id}"):
                st.markdown(f"{kind_icon(job.kind)} {literal(title_of(job))}", width="stretch")
                st.caption(f"{literal(facts(job))} · deleted {ago(job.deleted or job.created)}", width="content")
                st.button(
                    "Restore",
                    key=f"restore-{job.id}",
                    icon=":material/restore_from_trash:",
                    on_click=_restore,
                    args=(workspace, job.id),
                )
        if deleted[SHOWN:]:
            st.caption(f"and {count(len(deleted) - SHOWN, 'older job')}")
        if pictures:
            st.caption(f"The filter **Deleted** of the gallery brings {count(pictures, 'picture')} back.")
        with st.popover("Empty the trash", icon=":material/delete_forever:", type="tertiary", key="ask-empty-trash"):
            st.markdown(f"Delete **{' and '.join(held)}** with all files for good? This cannot be taken back.")
            st.button(
                "Empty the trash",
                key="empty-trash",
                type="primary",
                on_click=carry_out,
                args=(jobs.empty_trash, workspace),
            )


def _restore(workspace: Workspace, job_id: str) -> None:
    carry_out(jobs.restore_job, workspace, job_id)
    if in_address("deleted") == job_id:
        st.query_params.pop("deleted", None)
