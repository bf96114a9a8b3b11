"""Which pictures are chosen in the grid: ids in the session, of one dataset at a time.

The browser shows the ticks and the session acts on them, so the two must never differ: `revision` is another one in
every session, and makes the browser take over what the session knows.
"""

from uuid import uuid4

import streamlit as st

IDS, REVISION, OF = "selection", "selection-revision", "selection-of"
GRID = "grid"


def selection(dataset: str) -> list[str]:
    return list(st.session_state.get(IDS, [])) if st.session_state.get(OF) == dataset else []


def recover(dataset: str) -> bool:
    """Whether a new session took over what the browser had ticked before the studio was restarted.

    Only after the grid was drawn does Streamlit hand out what the browser sent.
    """
    if OF in st.session_state:
        return False
    ids = list(st.session_state[GRID].get("selected") or [])
    if ids:
        choose(dataset, ids)
    else:
        chosen_in_browser(dataset, ids)
    return bool(ids)


def revision() -> str:
    return str(st.session_state.setdefault(REVISION, uuid4().hex))


def chosen_in_browser(dataset: str, ids: list[str]) -> None:
    st.session_state[IDS], st.session_state[OF] = ids, dataset


def choose(dataset: str, ids: list[str]) -> None:
    """Make the selection these, in the browser too."""
    chosen_in_browser(dataset, ids)
    st.session_state[REVISION] = uuid4().hex
