"""The small line in the sidebar of every page: what runs, what waits, and the way to the Jobs page."""

import streamlit as st

from sdstudio import jobs
from sdstudio.ui.jobs.describe import share, title_of
from sdstudio.ui.session import page_file
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

POLL_SECONDS = 3.0
SHOWN = 3
LETTERS = 28


@st.fragment(run_every=POLL_SECONDS)
def show_indicator(workspace: Workspace) -> None:
    """Looks at the jobs that have not ended, and at no other; moves the queue on."""
    jobs.tick(workspace)
    live = jobs.live_jobs(workspace)
    running = [job for job in live if job.state != "queued"]
    waiting = len(live) - len(running)
    said = [f"{len(running):,} running"] if running else []
    said += [f"{waiting:,} queued"] if waiting else []
    with st.container(key="indicator", gap="xsmall"):
        st.page_link(
            page_file("jobs"),
            label=", ".join(said) or "No job is running",
            icon=":material/progress_activity:" if live else ":material/check_circle:",
        )
        for job in running[:SHOWN]:
            state = f"{share(job):.0%}" if job.total else job.state
            st.progress(share(job), text=literal(f"{shortened(title_of(job))} · {state}"))


def shortened(title: str) -> str:
    return title if len(title) <= LETTERS else f"{title[: LETTERS - 1].rstrip()}…"
