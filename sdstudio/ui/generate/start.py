"""A picture to begin from: chosen, painted on where it shall be new, or given room to grow."""

import streamlit as st

from sdstudio.pictures.start_pictures import keep
from sdstudio.schema import StartPicture, UserError, from_json, to_json
from sdstudio.ui.files import start_url
from sdstudio.ui.forms import config_form, fill_form
from sdstudio.ui.mask_canvas import mask_canvas
from sdstudio.ui.session import told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

ALL, PAINTED, FILE = "All of it", "What I paint", "By a mask file"
FORMATS = ["png", "jpg", "jpeg", "webp"]


def start_picker(workspace: Workspace, key: str) -> StartPicture | None:
    """The picture that drawing begins from, with its mask and settings; None where it begins from noise."""
    with st.expander("Begin from a picture", icon=":material/image:"):
        with told():
            _upload(workspace, "A picture to change, fill in or make larger", f"{key}.start-file", _name(key))
        picture = st.session_state.get(_name(key), "")
        if not picture:
            return None
        settings_key = f"{key}.start"
        left, right = st.columns([3, 2], gap="medium")
        with right:
            mode = st.radio(
                "What is drawn anew", [ALL, PAINTED, FILE], key=f"{key}.start-mode", persist_state="session"
            )
            values = config_form(
                StartPicture, key=settings_key, skip=("picture", "mask"), advanced_label="More room around it"
            )
            if mode == FILE:
                with told():
                    _upload(workspace, "White is drawn anew, black stays", f"{key}.mask-file", f"{key}.start-mask-file")
            st.button("Begin from noise again", icon=":material/close:", on_click=_forget, args=(key,))
        with left:
            if mode == PAINTED:
                _paint(workspace, key, picture)
            else:
                st.image(str(workspace.root / picture), width=480)
        masks = {PAINTED: f"{key}.start-painted", FILE: f"{key}.start-mask-file"}
        mask = st.session_state.get(masks[mode], "") if mode in masks else ""
        if mode in masks and not mask:
            st.caption("Without a mask all of it is drawn anew.")
        return from_json(StartPicture, {**values, "picture": picture, "mask": mask})


def begin_from(workspace: Workspace, key: str, start: StartPicture | None) -> None:
    """Set the picker to a start that pictures were drawn from, or to none; for callbacks."""
    _forget(key)
    if start is None:
        return
    st.session_state[_name(key)] = start.picture
    st.session_state[f"{key}.start-painted"] = start.mask
    st.session_state[f"{key}.start-mode"] = PAINTED if start.mask else ALL
    fill_form(StartPicture, f"{key}.start", to_json(start))


def _name(key: str) -> str:
    return f"{key}.start-picture"


def _forget(key: str) -> None:
    for name in (_name(key), f"{key}.start-painted", f"{key}.start-mask-file"):
        st.session_state.pop(name, None)


def _upload(workspace: Workspace, label: str, key: str, target: str) -> None:
    """An uploaded picture, kept in the workspace once, under `target` in the session."""
    file = st.file_uploader(label, type=FORMATS, key=key)
    taken = f"{target}.taken"
    if file is None:
        st.session_state.pop(taken, None)
    elif st.session_state.get(taken) != file.file_id:
        st.session_state[taken] = file.file_id
        st.session_state[target] = keep(workspace, file.getvalue())


def _paint(workspace: Workspace, key: str, picture: str) -> None:
    painted = f"{key}.start-painted"

    def paint(png: bytes) -> None:
        try:
            st.session_state[painted] = keep(workspace, png) if png else ""
        except UserError as error:
            st.toast(literal(str(error)), icon=":material/error:")

    mask = st.session_state.get(painted, "")
    mask_canvas(start_url(picture), f"{key}.canvas.{picture}", paint, start_url(mask) if mask else "")
