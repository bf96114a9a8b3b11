"""The script that runs for every page: the router, the sidebar with what runs, the starter's examples.

It does not lie beside `pages/`: Streamlit takes a folder of that name beside the main script for its older kind of
multi-page app, and would answer the first deep link after a start without this router.
"""

from pathlib import Path

import streamlit as st

from sdstudio.schema import UserError
from sdstudio.ui import starter
from sdstudio.ui.jobs.indicator import show_indicator
from sdstudio.ui.session import page_file
from sdstudio.ui.text import literal
from sdstudio.workspace import current_workspace

PAGES = (
    ("home", "Home", ":material/home:"),
    ("annotate", "Annotate", ":material/edit_note:"),
    ("train", "Train", ":material/model_training:"),
    ("generate", "Generate", ":material/brush:"),
    ("evaluate", "Evaluate", ":material/analytics:"),
    ("jobs", "Jobs", ":material/work_history:"),
)
_COMPONENTS = Path(__file__).parent / "components"


def main() -> None:
    st.set_page_config(page_title="SD Studio", page_icon=_COMPONENTS / "icon.svg", layout="wide")
    st.logo(str(_COMPONENTS / "logo.svg"), size="large", icon_image=str(_COMPONENTS / "icon.svg"))
    st.html(_COMPONENTS / "studio.css")
    st.html(_COMPONENTS / "jobs.css")
    pages = [st.Page(page_file(name), title=title, icon=icon, default=name == "home") for name, title, icon in PAGES]
    page = st.navigation(pages)
    try:
        workspace = current_workspace()
        starter.begin(workspace)
        with st.sidebar:
            show_indicator(workspace)
            st.caption(f"Workspace: {literal(workspace.root.name)}", help=literal(str(workspace.root)))
        page.run()
    except UserError as error:
        st.error(literal(str(error)))


main()
