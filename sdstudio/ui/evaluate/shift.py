"""The tab Shift."""

import streamlit as st

from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    st.info("There is no shift to see yet: compare models first.", icon=":material/scatter_plot:")
