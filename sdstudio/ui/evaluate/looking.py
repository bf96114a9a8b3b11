"""What the tabs share that look again at the pictures of a finished comparison."""

from typing import Any

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.jobs.folder import CONFIG_FILE
from sdstudio.schema import Job, JobKind
from sdstudio.ui.evaluate.comparison import show_log
from sdstudio.ui.forms import config_form
from sdstudio.ui.job_card import follow
from sdstudio.ui.session import choose_job
from sdstudio.workspace import Workspace, read_json


def choose_comparison(workspace: Workspace, nothing: str, icon: str) -> Job | None:
    """A picker over the finished comparisons; None, with `nothing` said, where there is none."""
    tables = [job for job in jobs.list_jobs(workspace, "evaluate") if job.state == "succeeded"]
    if not tables:
        st.info(nothing, icon=icon)
        return None
    return jobs.get_job(workspace, choose_job(tables, "table", "Comparison"))


def follow_last(workspace: Workspace, kind: JobKind, comparison: Job) -> None:
    """The card of the newest job of `kind` that looks at the comparison, unless it has succeeded."""
    for job in jobs.list_jobs(workspace, kind):
        if read_json(job.folder / CONFIG_FILE).get("comparison") == comparison.id:
            if job.state != "succeeded":
                follow(workspace, job.id, show_log)
            return


def choose_plug_in(package: str, label: str, default: str, key: str) -> tuple[str, dict[str, Any]]:
    """A picker over the plug-ins of `package` and the form of the chosen one's options: (its name, their values)."""
    records = registry.load(package)
    names = sorted(records, key=lambda name: name != default)
    name = st.segmented_control(
        label, names, default=default, format_func=lambda one: records[one].label, key=f"{key}.{label}", required=True
    )
    st.caption(records[name].summary)
    return name, config_form(records[name].Options, key=f"{key}.{name}")
