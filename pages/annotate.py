"""Look through a dataset, draft captions, put them right, bring pictures in and take them out."""

import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from sdstudio import jobs, registry
from sdstudio.datasets import DatasetInfo, DatasetStore, create_dataset, export_dataset, list_datasets, open_dataset
from sdstudio.schema import CaptionConfig, CaptionedImage, ImportConfig, UserError, from_json
from sdstudio.ui import captioning
from sdstudio.ui.caption_editor import caption_editor
from sdstudio.ui.files import thumb_url
from sdstudio.ui.forms import config_form
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.job_card import follow
from sdstudio.ui.session import in_address, put_in_address, told
from sdstudio.ui.text import ago, count, literal
from sdstudio.workspace import Workspace, current_workspace

FILTERS = ("All", "Not modified", "Empty")
PAGE_SIZE = 60
ANSWER = "caption-answer"
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
    images = store.images()
    if not images:
        st.info(
            "This dataset is empty: bring pictures in with **Add pictures**.", icon=":material/add_photo_alternate:"
        )
        return
    show_progress(store)
    shown = choose_images(images)
    image_id = in_address("image")
    current = next((image for image in images if image.id == image_id), None)
    if current is None:
        show_grid(name, shown)
    else:
        show_editor(store, current, shown)


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


# ---------------------------------------------------------------- the set


def show_progress(store: DatasetStore) -> None:
    modified, total = store.progress()
    st.progress(modified / total, text=f"Modified: {modified:,} / {total:,}")


def choose_images(images: Sequence[CaptionedImage]) -> list[CaptionedImage]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kept = st.segmented_control("Show", FILTERS, default="All", required=True, key="filter", bind="query-params")
        words = st.text_input(
            "Caption contains",
            type="search",
            key="contains",
            bind="query-params",
            live="300ms",
            placeholder="Any words",
        )
    return [image for image in images if is_kept(image, kept or "All", (words or "").strip().lower())]


def is_kept(image: CaptionedImage, kept: str, words: str) -> bool:
    if kept == "Not modified" and image.state != "not modified":
        return False
    if kept == "Empty" and image.caption:
        return False
    return words in image.caption.lower()


def show_grid(dataset: str, shown: Sequence[CaptionedImage]) -> None:
    if not shown:
        st.info(
            "No picture matches this filter. Choose **All**, or search for other words.",
            icon=":material/filter_alt_off:",
        )
        return
    pages = -(-len(shown) // PAGE_SIZE)
    page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    items = [
        Item(
            id=image.id,
            src=thumb_url(dataset, image.id),
            text=image.caption,
            note=image.state,
            done=image.state != "not modified",
        )
        for image in shown[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    ]
    st.caption(f"{count(len(shown), 'picture')}. Choose one to read and edit its caption.")
    gallery(items, key="grid", on_open=lambda image_id: put_in_address("image", image_id))


# ---------------------------------------------------------------- one picture


def show_editor(store: DatasetStore, image: CaptionedImage, shown: Sequence[CaptionedImage]) -> None:
    order = [item.id for item in shown]
    place = order.index(image.id) if image.id in order else None
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("All pictures", key="back", icon=":material/grid_view:"):
            put_in_address("image", "")
            st.rerun()
        where = "Not in this filter any more" if place is None else f"Picture {place + 1:,} of {len(order):,}"
        st.caption(f"{where} · {literal(image.file_name)} · {image.width} × {image.height} px")
    answer = last_answer(store.name)
    if answer and answer.unsaved and answer.id != image.id:
        show_unsaved(answer)

    def received(payload: dict[str, Any]) -> None:
        message = from_json(captioning.Message, payload)
        dataset = open_dataset(current_workspace(), message.dataset)
        outcome = captioning.act(dataset, order, message)
        st.session_state[ANSWER] = {"dataset": dataset.name, **asdict(outcome)}
        if outcome.shows != message.id:
            put_in_address("image", outcome.shows)

    upcoming = order[place + 1] if place is not None and place + 1 < len(order) else ""
    caption_editor(store.name, image, upcoming, answer, received)
    show_history(store, image)


def last_answer(dataset: str) -> captioning.Answer | None:
    answer = dict(st.session_state.get(ANSWER, {}))
    return captioning.Answer(**answer) if answer.pop("dataset", None) == dataset else None


def show_unsaved(answer: captioning.Answer) -> None:
    with st.container(border=True):
        st.warning(f"Your last change was not saved. {literal(answer.note)} This is what you wrote:")
        st.code(answer.unsaved, language=None, wrap_lines=True)
        if st.button("Go back to that picture", key="back-to-unsaved"):
            put_in_address("image", answer.id)
            st.rerun()


def show_history(store: DatasetStore, image: CaptionedImage) -> None:
    with st.expander("History of this caption", icon=":material/history:"):
        for entry in reversed(store.history(image.id)):
            st.caption(f"{literal(entry.action)} by {literal(entry.who)}, {ago(entry.time)}")
            st.text(entry.caption or "(no caption)")


main()
