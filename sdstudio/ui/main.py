"""The script that runs for every page: the router, the sidebar with its live job indicator, the starter's examples.

It does not lie beside `pages/`: Streamlit takes a folder of that name beside the main script for its older kind of
multi-page app, and would answer the first deep link after a start without this router.
"""

from pathlib import Path

import streamlit as st

from sdstudio import jobs
from sdstudio.schema import ENDED, UserError
from sdstudio.ui import starter
from sdstudio.ui.session import page_file
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace, current_workspace

PAGES = (
    ("home", "Home", ":material/home:"),
    ("annotate", "Annotate", ":material/edit_note:"),
    ("train", "Train", ":material/model_training:"),
    ("generate", "Generate", ":material/brush:"),
    ("evaluate", "Evaluate", ":material/analytics:"),
)
_COMPONENTS = Path(__file__).parent / "components"


def main() -> None:
    st.set_page_config(page_title="SD Studio", page_icon=_COMPONENTS / "icon.svg", layout="wide")
    st.logo(str(_COMPONENTS / "logo.svg"), size="large", icon_image=str(_COMPONENTS / "icon.svg"))
    st.html(_COMPONENTS / "studio.css")
    pages = [st.Page(page_file(name), title=title, icon=icon, default=name == "home") for name, title, icon in PAGES]
    page = st.navigation(pages)
    try:
        workspace = current_workspace()
        starter.begin(workspace)
        with st.sidebar:
            _indicator(workspace)
            st.caption(f"Workspace: {literal(workspace.root.name)}", help=literal(str(workspace.root)))
        page.run()
    except UserError as error:
        st.error(literal(str(error)))


@st.fragment(run_every=3)
def _indicator(workspace: Workspace) -> None:
    jobs.tick(workspace)
    live = [job for job in jobs.list_jobs(workspace) if job.state not in ENDED]
    if not live:
        st.caption(":material/check_circle: No job is running")
        return
    for job in live[:3]:
        share = min(job.done / job.total, 1.0) if job.total else 0.0
        state = "waiting" if job.state == "queued" else f"{share:.0%}" if job.total else job.state
        st.progress(share, text=f"{literal(job.title or job.kind)} · {state}")
    if len(live) > 3:
        st.caption(f"and {count(len(live) - 3, 'more job')}")


main()
