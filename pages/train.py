"""Start a run or a sweep, watch what it learns, compare runs."""

import streamlit as st

from sdstudio import jobs
from sdstudio.ui.job_card import follow
from sdstudio.ui.session import NEW, choose_job, in_address, put_in_address, say_gone, told
from sdstudio.ui.train.compare import show_compare
from sdstudio.ui.train.form import show_form
from sdstudio.ui.train.run import show_after, show_run
from sdstudio.workspace import Workspace, current_workspace


def main() -> None:
    workspace = current_workspace()
    st.title("Train")
    runs = jobs.list_jobs(workspace, "train")
    if not runs or in_address("run") == NEW:
        if runs:
            back()
        show_form(workspace)
    elif "compare" in st.query_params or in_address("sweep"):
        back()
        show_compare(workspace, runs)
    else:
        show_one(workspace)


def back() -> None:
    if st.button("Back to the runs", icon=":material/arrow_back:", key="back"):
        for name in ("run", "compare", "sweep"):
            put_in_address(name, "")
        st.rerun()


def show_one(workspace: Workspace) -> None:
    runs = jobs.list_jobs(workspace, "train")
    say_gone(runs, "run", "The run")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run = choose_job(runs, "run", "Run")
        if len(runs) > 1 and st.button("Compare runs", icon=":material/stacked_line_chart:", key="compare-runs"):
            st.query_params["compare"] = run
            st.rerun()
        st.button(
            "New run",
            icon=":material/add:",
            type="primary",
            key="new-run",
            on_click=put_in_address,
            args=("run", NEW),
        )
    with told():
        follow(workspace, run, lambda job: show_run(workspace, job))
        show_after(workspace, jobs.get_job(workspace, run))


main()
