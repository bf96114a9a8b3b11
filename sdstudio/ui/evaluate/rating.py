"""The tab Rating room."""

import streamlit as st

from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    st.info("There is nothing to rate yet: compare models first.", icon=":material/thumbs_up_down:")
