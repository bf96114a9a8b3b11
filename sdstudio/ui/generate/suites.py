"""Prompt suites: the same prompts for every model."""

import streamlit as st

from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    st.info("No suite has been drawn yet.")
