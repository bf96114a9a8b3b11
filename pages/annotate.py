"""Look through a dataset, draft captions, put them right, bring pictures in and take them out."""

import tempfile
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from sdstudio import jobs, registry
from sdstudio.datasets import DatasetInfo, DatasetStore, create_dataset, export_dataset, list_datasets, open_dataset
from sdstudio.datasets.query import Query
from sdstudio.schema import CaptionConfig, ImportConfig, UserError
from sdstudio.ui.annotate import filters
from sdstudio.ui.annotate.editor import show_editor
from sdstudio.ui.annotate.grid import show_grid
from sdstudio.ui.annotate.progress import show_progress
from sdstudio.ui.forms import config_form
from sdstudio.ui.job_card import follow
from sdstudio.ui.session import in_address, put_in_address, told
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace, current_workspace

EXPORTS = {
    "CSV with file names": "csv",
    "A .txt beside each picture": "txt",
    "Hugging Face ImageFolder": "imagefolder",
}


def main() -> None:
    workspace = current_workspace()
    st.title("Annotate")
    datasets = [item for item in list_datasets(workspace) if not item.error]
    if not datasets:
        show_start(workspace)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = choose_dataset(datasets)
        store = open_dataset(workspace, name)
        with st.container(horizontal=True, width="content"):
            show_tools(workspace, store)
    if store.description:
        st.caption(literal(store.description))
    show_job(workspace)
    if not store.counts()[0] and not store.count(Query(deleted=True)):
        st.info(
            "This dataset is empty: bring pictures in with **Add pictures**.", icon=":material/add_photo_alternate:"
        )
        return
    query = filters.choose_query(store)
    if in_address("image"):
        show_editor(store, query)
        return
    show_progress(store)
    total = filters.checked(store, query)
    if total is not None:
        show_grid(store, query, total)


def show_start(workspace: Workspace) -> None:
    st.info(
        "There is no dataset yet. Bring in the pictures that a model should learn from.",
        icon=":material/photo_library:",
    )
    show_job(workspace)
    with st.container(border=True):
        add_pictures(workspace, "")


def choose_dataset(datasets: Sequence[DatasetInfo]) -> str:
    def changed() -> None:
        put_in_address("image", "")

    names = [item.name for item in datasets]
    return st.selectbox("Dataset", names, key="dataset", bind="query-params", on_change=changed)


# ---------------------------------------------------------------- tools


def show_tools(workspace: Workspace, store: DatasetStore) -> None:
    if st.button("Draft captions", icon=":material/auto_awesome:", key="open-draft"):
        draft_captions(workspace, store.name)
    if st.button("Add pictures", icon=":material/add_photo_alternate:", key="open-add"):
        add_in_dialog(workspace, store.name)
    with st.popover("Export", icon=":material/download:"):
        export(workspace, store)


@st.dialog("Draft captions", width="large")
def draft_captions(workspace: Workspace, dataset: str) -> None:
    captioners = registry.load("sdstudio.captioners")
    if not captioners:
        st.info("No captioner is installed.")
        return
    name = st.selectbox("Captioner", list(captioners), format_func=lambda key: captioners[key].label, key="captioner")
    st.caption(literal(captioners[name].summary))
    options = config_form(captioners[name].Options, key=f"captioner.{name}")
    only_empty = st.toggle(
        "Only pictures without a caption",
        value=True,
        help="A caption that a person wrote is never overwritten either way.",
    )
    if st.button("Start drafting", type="primary", key="draft", icon=":material/play_arrow:"):
        with told():
            config = CaptionConfig(dataset=dataset, captioner=name, options=options, only_empty=only_empty)
            start(workspace, "caption", config, f"Draft captions for {dataset}")


@st.dialog("Add pictures", width="large")
def add_in_dialog(workspace: Workspace, dataset: str) -> None:
    add_pictures(workspace, dataset)


def add_pictures(workspace: Workspace, dataset: str) -> None:
    into = st.text_input(
        "Dataset", value=dataset, key=f"into-{dataset}", help="A new name makes a new dataset."
    ).strip()
    upload, folder = st.tabs(["Upload", "From a folder"])
    with upload:
        files = st.file_uploader(
            "PNG, JPEG or WebP", type=["png", "jpg", "jpeg", "webp"], accept_multiple_files=True, key="upload"
        )
        if st.button("Add", key="add-upload", type="primary", disabled=not files) and files:
            with told():
                added = upload_files(workspace, into, files)
                st.success(f"{count(added, 'picture')} added.")
    with folder:
        path = st.text_input(
            "Folder on this machine",
            key="import-folder",
            placeholder="/home/me/pictures",
            help="Read with its subfolders.",
        )
        st.caption("Captions beside the pictures (.txt, metadata.jsonl, metadata.csv) come along.")
        if st.button("Import", key="import", type="primary", disabled=not path.strip()):
            with told():
                config = ImportConfig(dataset=into, folder=path.strip())
                start(workspace, "import", config, f"Import into {into}")


def upload_files(workspace: Workspace, dataset: str, files: Sequence[UploadedFile]) -> int:
    """Add the uploaded files; those that are refused are said one by one. Returns how many are new."""
    known = {item.name for item in list_datasets(workspace)}
    store = open_dataset(workspace, dataset) if dataset in known else create_dataset(workspace, dataset)
    added = 0
    for file in files:
        try:
            _, is_new = store.add(file.getvalue(), file.name)
        except UserError as error:
            st.warning(f"{literal(file.name)}: {literal(str(error))}")
            continue
        if is_new:
            added += 1
        else:
            st.caption(f"{literal(file.name)} is here already.")
    return added


def export(workspace: Workspace, store: DatasetStore) -> None:
    label = st.radio("Format", list(EXPORTS), key="export-format")

    def zipped() -> bytes:
        return zip_export(workspace, store.name, EXPORTS[label])

    st.download_button(
        "Download as zip",
        data=zipped,
        file_name=f"{store.name}-{EXPORTS[label]}.zip",
        mime="application/zip",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
    )


def zip_export(workspace: Workspace, dataset: str, format: str) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / dataset
        export_dataset(workspace, dataset, folder, format)
        memory = BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder.parent))
    return memory.getvalue()


def start(workspace: Workspace, kind: str, config: CaptionConfig | ImportConfig, title: str) -> None:
    job = jobs.submit(workspace, kind, config, title)
    put_in_address("job", job.id)
    st.rerun()


def show_job(workspace: Workspace) -> None:
    job_id = in_address("job")
    if not job_id:
        return
    with told():
        follow(workspace, job_id, lambda job: None)
        if st.button("Close", key="close-job", icon=":material/close:", type="tertiary"):
            put_in_address("job", "")
            st.rerun()


main()
