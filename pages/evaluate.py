"""Compare what was trained with its base model, and look at the numbers from every side: a tab for each."""

import streamlit as st

from sdstudio.ui.evaluate import captions, curves, grids, logo, protocol, rating, scoreboard, shift
from sdstudio.ui.tabs import show_tabs
from sdstudio.workspace import current_workspace

TABS = {
    "Compare": protocol.show,
    "Scoreboard": scoreboard.show,
    "Curves": curves.show,
    "Pictures": grids.show,
    "Captions": captions.show,
    "Rating room": rating.show,
    "Logo and text": logo.show,
    "Shift": shift.show,
}


def main() -> None:
    st.title("Evaluate")
    show_tabs(TABS, current_workspace())


main()
