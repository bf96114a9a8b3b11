"""The tab Logo and text."""

import streamlit as st

from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    st.info("There is nothing to look for yet: compare models first.", icon=":material/badge:")
