"""Ask models for pictures, and look at what they drew: a tab for each way."""

import streamlit as st

from sdstudio.ui.generate import ask, gallery, grid, suites
from sdstudio.workspace import current_workspace

TABS = {"Ask": ask.show, "Grid": grid.show, "Suites": suites.show, "Gallery": gallery.show}


def main() -> None:
    workspace = current_workspace()
    st.title("Generate")
    for tab, show in zip(st.tabs(list(TABS), key="view", bind="query-params"), TABS.values(), strict=True):
        if tab.open:
            with tab:
                show(workspace)


main()
