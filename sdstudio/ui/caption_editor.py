"""The caption box with its picture: one inline component whose own script handles the keys and names what it edits."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from sdstudio.schema import CaptionedImage
from sdstudio.ui.captioning import Window
from sdstudio.ui.component import component
from sdstudio.ui.files import picture_url, tokens_url

_component = component("caption_editor", styles=("controls",), scripts=("caption_words", "caption_view"))


def caption_editor(
    dataset: str,
    shows: str,
    window: Window,
    answer: dict[str, Any] | None,
    on_message: Callable[[dict[str, Any]], None],
    identifier: str = "",
    template: str = "",
    key: str = "caption-editor",
) -> None:
    """Show picture `shows` of `window`; `on_message` gets every message of the editor before the page's next run.

    `answer` is what became of the last message, an `Answer` as plain values.
    """

    def received() -> None:
        message = st.session_state[key].get("action")
        if message:
            on_message(message)

    data = {
        "dataset": dataset,
        "shows": shows,
        "records": [_record(dataset, image) for image in window.images],
        "index": window.index,
        "total": window.total,
        "identifier": identifier,
        "template": template,
        "tokens": tokens_url(dataset),
        "answer": answer,
    }
    _component(key=key, data=data, on_action_change=received, on_mounted_change=lambda: None)


def _record(dataset: str, image: CaptionedImage) -> dict[str, Any]:
    return {
        "id": image.id,
        "version": image.version,
        "caption": image.caption,
        "draft": image.machine_caption,
        "state": image.state,
        "excluded": image.excluded,
        "name": image.file_name,
        "width": image.width,
        "height": image.height,
        "picture": picture_url(dataset, image.id),
    }
