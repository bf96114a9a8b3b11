"""Bring pictures in, from wherever they are; each way is the same job, which can be stopped and started again."""

from typing import Any

import streamlit as st

from sdstudio.datasets import stage_uploads
from sdstudio.schema import ImportConfig, from_json
from sdstudio.ui.annotate.jobs_view import start
from sdstudio.ui.forms import config_form
from sdstudio.ui.hub_token import secrets_of, token_form
from sdstudio.ui.session import told
from sdstudio.workspace import Workspace, check_name

UPLOADS = ["png", "jpg", "jpeg", "webp", "zip", "txt", "caption", "csv", "jsonl", "json", "parquet"]
HUB_FIELDS = {"subset", "split"}
ALWAYS = {"dataset", "folder", "source"}


@st.dialog("Add pictures", width="medium")
def add_in_dialog(workspace: Workspace, dataset: str) -> None:
    add_pictures(workspace, dataset)


def add_pictures(workspace: Workspace, dataset: str) -> None:
    into = st.text_input(
        "Dataset", value=dataset, key=f"into-{dataset}", help="A new name makes a new dataset."
    ).strip()
    upload, folder, hub = st.tabs(["Upload", "From this machine", "From the Hub"])
    with upload:
        files = st.file_uploader(
            "Pictures (PNG, JPEG, WebP), with their .txt or a metadata table if there are any, or one zip",
            type=UPLOADS,
            accept_multiple_files=True,
            key="upload",
        )
        if st.button("Add", key="add-upload", type="primary", disabled=not files) and files:
            with told():
                check_name(into, "dataset")
                place = stage_uploads(workspace, [(file.name, file) for file in files])
                bring_in(workspace, into, str(place), {}, "detect")
    with folder:
        path = st.text_input(
            "Folder, zip file, table or kohya's dataset config",
            key="import-folder",
            placeholder="/home/me/pictures",
            help="A folder is read with its subfolders; a table (.csv, .jsonl, .parquet) names its pictures.",
        )
        st.caption(
            "Captions come along: .txt or .caption beside the pictures, metadata.jsonl or .csv, "
            "folders named '10_token class' as kohya's trainer has them, or its dataset config (.toml)."
        )
        options = config_form(ImportConfig, key="import", skip=ALWAYS | HUB_FIELDS)
        if st.button("Import", key="import", type="primary"):
            with told():
                bring_in(workspace, into, path.strip(), options, "detect")
    with hub:
        name = st.text_input("Name on the Hub", key="import-hub", placeholder="owner/name")
        options = config_form(ImportConfig, key="import-from-hub", skip=ALWAYS | {"caption_lines", "kohya_folders"})
        help = "Only for a private set; without one here, that of this machine's login is taken."
        token = token_form("Import", help, key="import-hub-start")
        if token is not None:
            with told():
                bring_in(workspace, into, name.strip(), options, "hub", token)


def bring_in(
    workspace: Workspace, dataset: str, place: str, options: dict[str, Any], source: str, token: str = ""
) -> None:
    config = from_json(ImportConfig, {**options, "dataset": dataset, "folder": place, "source": source})
    start(workspace, "import", config, f"Import into {dataset}", secrets_of(token))
