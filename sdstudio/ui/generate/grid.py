"""X/Y/Z grids: one picture a cell, over any setting."""

import streamlit as st

from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    st.info("No grid has been drawn yet.")
