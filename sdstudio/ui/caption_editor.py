"""The caption box with its picture: one inline component whose own script handles the keys and names what it edits."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from sdstudio.schema import CaptionedImage
from sdstudio.ui.captioning import Answer, describe
from sdstudio.ui.files import picture_url

TINY = 192
_HERE = Path(__file__).parent / "components"
_component = st.components.v2.component(
    "sdstudio_caption_editor",
    html=(_HERE / "caption_editor.html").read_text(encoding="utf-8"),
    css=(_HERE / "caption_editor.css").read_text(encoding="utf-8"),
    js=(_HERE / "caption_editor.js").read_text(encoding="utf-8"),
)


def caption_editor(
    dataset: str,
    image: CaptionedImage,
    upcoming: str,
    answer: Answer | None,
    on_message: Callable[[dict[str, Any]], None],
    key: str = "caption-editor",
) -> None:
    """Show `image` with its caption; `on_message` gets every message of the editor before the page's next run.

    `upcoming` is the id of the picture that the browser may load ahead; `answer` is what became of the last message.
    """

    def received() -> None:
        message = st.session_state[key].get("action")
        if message:
            on_message(message)

    data = {
        "dataset": dataset,
        "id": image.id,
        "version": image.version,
        "caption": image.caption,
        "draft": image.machine_caption,
        "note": describe(image),
        "picture": picture_url(dataset, image.id),
        "tiny": max(image.width, image.height) <= TINY,
        "upcoming": picture_url(dataset, upcoming) if upcoming else "",
        "answer": asdict(answer) if answer else None,
    }
    _component(key=key, data=data, on_action_change=received, on_mounted_change=lambda: None)
