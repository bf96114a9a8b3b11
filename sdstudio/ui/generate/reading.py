"""Settings read back from a picture that somebody drops: the studio's own, and those of other programs."""

from typing import IO

import streamlit as st

from sdstudio.pictures import png_text
from sdstudio.pictures.png_text import PictureText
from sdstudio.schema import GenerateConfig, UserError
from sdstudio.ui.forms import fill_form
from sdstudio.ui.generate.fields import KEY
from sdstudio.ui.generate.filling import fill_from, model_key
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

DROPPED, SAID = f"{KEY}.dropped", f"{KEY}.dropped-said"


def drop_picture(workspace: Workspace) -> None:
    """A place to drop a picture, whose settings then stand in the form, with what could not be taken over."""

    def read() -> None:
        file = st.session_state[DROPPED]
        st.session_state[SAID] = [] if file is None else _taken(workspace, file)

    with st.expander("Settings from a picture", icon=":material/input:"):
        st.file_uploader(
            "A PNG that this studio or AUTOMATIC1111 made, or a JPEG or WebP with such settings",
            type=["png", "jpg", "jpeg", "webp"],
            key=DROPPED,
            on_change=read,
        )
        for sentence in st.session_state.get(SAID, []):
            st.caption(f":material/info: {literal(sentence)}")


def _taken(workspace: Workspace, file: IO[bytes]) -> list[str]:
    """Fill the form from the file; what there is to say of it, a sentence each."""
    try:
        found = png_text.read(file)
    except UserError as error:
        return [str(error)]
    if found.image is not None:
        fill_from(workspace, found.image)
        known = bool(model_key(workspace, found.image.model))
    else:
        prompt = " ".join(found.prompt.split())  # one line is one prompt here
        fill_form(GenerateConfig, KEY, {"prompts": [prompt], "settings": dict(found.settings), "count": 1})
        known = False
    return ["The form holds its settings.", *([] if known else _model(found)), *found.notes]


def _model(found: PictureText) -> list[str]:
    if not found.model and not found.model_hash:
        return []
    name = " ".join(part for part in (found.model, f"({found.model_hash[:10]})" if found.model_hash else "") if part)
    return [f"It was drawn by the model {name}: choose it where you have it, or another."]
