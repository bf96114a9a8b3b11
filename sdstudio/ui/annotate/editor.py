"""One picture at a time: the editor, its answers, the history of the caption."""

from dataclasses import asdict
from typing import Any

import streamlit as st

from sdstudio.datasets import DatasetStore, open_dataset
from sdstudio.datasets.query import Query
from sdstudio.schema import UserError, from_json
from sdstudio.ui import captioning
from sdstudio.ui.annotate.progress import show_progress
from sdstudio.ui.caption_editor import caption_editor
from sdstudio.ui.session import in_address, put_in_address
from sdstudio.ui.text import ago, literal
from sdstudio.workspace import current_workspace

ANSWER, REACH = "caption-answer", "caption-reach"


@st.fragment
def show_editor(store: DatasetStore, query: Query) -> None:
    """The picture that the address names; saving and moving runs this alone again."""
    shows = in_address("image")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("All pictures", key="back", icon=":material/grid_view:"):
            put_in_address("image", "")
            st.rerun()
        show_progress(store)
    try:
        window = captioning.window(store, query, shows, st.session_state.get(REACH, 0))
    except UserError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return

    def received(payload: dict[str, Any]) -> None:
        message = from_json(captioning.Message, payload)
        known = last_answer(message.dataset)
        if known and known["number"] == message.number:
            return
        answer = captioning.act(open_dataset(current_workspace(), message.dataset), query, message)
        st.session_state[ANSWER] = {"dataset": message.dataset, **asdict(answer)}
        st.session_state[REACH] = message.reach
        put_in_address("image", answer.shows)

    settings = store.settings()
    caption_editor(store.name, shows, window, last_answer(store.name), received, settings.identifier, settings.template)
    show_history(store, shows)


def last_answer(dataset: str) -> dict[str, Any] | None:
    """What became of the editor's last message, when that was about `dataset`."""
    answer = dict(st.session_state.get(ANSWER, {}))
    return answer if answer.pop("dataset", None) == dataset else None


def show_history(store: DatasetStore, image_id: str) -> None:
    with st.expander("History of this caption", icon=":material/history:"):
        for entry in reversed(store.history(image_id)):
            st.caption(f"{literal(entry.action)} by {literal(entry.who)}, {ago(entry.time)}")
            st.text(entry.caption or "(no caption)")
