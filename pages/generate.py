"""Ask models for pictures, and look at what they drew: a tab for each way."""

import streamlit as st

from sdstudio.ui.generate import ask, gallery, grid, suites
from sdstudio.ui.tabs import show_tabs
from sdstudio.workspace import current_workspace

TABS = {"Ask": ask.show, "Grid": grid.show, "Suites": suites.show, "Gallery": gallery.show}


def main() -> None:
    st.title("Generate")
    show_tabs(TABS, current_workspace())


main()
