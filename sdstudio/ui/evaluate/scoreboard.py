"""The tab Scoreboard."""

import streamlit as st

from sdstudio.workspace import Workspace


def show(workspace: Workspace) -> None:
    st.info("The scoreboard fills with the first comparison: set one up under Compare.", icon=":material/leaderboard:")
