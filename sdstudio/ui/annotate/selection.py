"""Which pictures are chosen in the grid: ids in the session, of one dataset at a time."""

import streamlit as st

IDS, REVISION, OF = "selection", "selection-revision", "selection-of"


def selection(dataset: str) -> list[str]:
    return list(st.session_state.get(IDS, [])) if st.session_state.get(OF) == dataset else []


def revision() -> int:
    return int(st.session_state.get(REVISION, 0))


def chosen_in_browser(dataset: str, ids: list[str]) -> None:
    st.session_state[IDS], st.session_state[OF] = ids, dataset


def choose(dataset: str, ids: list[str]) -> None:
    """Make the selection these, in the browser too."""
    chosen_in_browser(dataset, ids)
    st.session_state[REVISION] = revision() + 1
