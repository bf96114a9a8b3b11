"""The tab Compare: a protocol that submits, and below it the comparison that it became."""

import streamlit as st

from sdstudio import jobs
from sdstudio.results import read_evaluation
from sdstudio.results.judging import judged
from sdstudio.ui.evaluate.comparison import show_evaluation, show_log
from sdstudio.ui.evaluate.setting_up import show_form
from sdstudio.ui.job_card import follow
from sdstudio.ui.session import NEW, choose_job, in_address, put_in_address, say_gone, told
from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    tables = jobs.list_jobs(workspace, "evaluate")
    if not tables or in_address("table") == NEW:
        if tables and st.button("Back to the comparisons", icon=":material/arrow_back:", key="back"):
            put_in_address("table", "")
            st.rerun()
        show_form(workspace)
        return
    say_gone(tables, "table", "The comparison")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        table = choose_job(tables, "table", "Comparison")
        st.button(
            "New comparison",
            icon=":material/add:",
            type="primary",
            key="new-table",
            on_click=put_in_address,
            args=("table", NEW),
        )
    with told():
        follow(workspace, table, lambda job: show_log(job))
        job = jobs.get_job(workspace, table)
        if job.state == "succeeded":
            show_evaluation(workspace, job, judged(read_evaluation(job.folder), job.folder))
