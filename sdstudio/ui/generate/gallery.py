"""Everything that was ever drawn here."""

import streamlit as st

from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    st.info("No picture has been drawn yet.")
