"""The tab Curves."""

import streamlit as st

from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    st.info("Curves appear with the first training run.", icon=":material/show_chart:")
