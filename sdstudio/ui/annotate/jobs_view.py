"""The job that the page follows: started here, named in the address, its report shown when it has ended."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import Job, JobKind
from sdstudio.ui.job_card import follow
from sdstudio.ui.session import in_address, put_in_address, told
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace, read_json

REPORT_FILE = "report.json"
SHOWN = 200


def start(
    workspace: Workspace, kind: JobKind, config: Any, title: str, secrets: Mapping[str, str] | None = None
) -> None:
    """Queue the job, take the page back to the pictures, and follow it there."""
    job = jobs.submit(workspace, kind, config, title, secrets)
    put_in_address("view", "")
    put_in_address("job", job.id)
    st.rerun()


def show_job(workspace: Workspace) -> None:
    job_id = in_address("job")
    if not job_id:
        return
    with told():
        follow(workspace, job_id, show_report)
        if st.button("Close", key="close-job", icon=":material/close:", type="tertiary"):
            put_in_address("job", "")
            st.rerun()


def show_report(job: Job) -> None:
    """What the job's report says that its state does not: what came in, what was refused and why."""
    path = job.folder / REPORT_FILE
    if not path.is_file():
        return
    report = read_json(path)
    if job.kind == "import":
        st.markdown(
            f"**{count(report['added'], 'picture')}** added, {report['duplicates']:,} were here already, "
            f"{len(report['refused']):,} refused."
        )
        for note in report["notes"]:
            st.caption(literal(note))
        show_refused([(name, reason) for name, reason in report["refused"]])
    if job.kind == "caption":
        st.markdown(
            f"**{count(report['drafted'], 'caption')}** drafted, {report['kept_beside']:,} kept beside a person's."
        )
        show_refused([(item["file_name"], item["error"]) for item in report["failed"]])
    if job.kind == "push" and report["url"]:
        sent = f"{count(report['sent'], 'file')} sent, {report['already_there']:,} there already"
        st.markdown(f"{sent}: [{literal(report['repository'])}]({report['url']})")


def show_refused(refused: list[tuple[Any, Any]]) -> None:
    if not refused:
        return
    with st.expander(f"{count(len(refused), 'file')} refused", icon=":material/block:"):
        for name, reason in refused[:SHOWN]:
            st.text(f"{name}: {reason}")
        if len(refused) > SHOWN:
            st.caption(f"and {len(refused) - SHOWN:,} more, in the job's report")
