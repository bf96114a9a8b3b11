"""Take a dataset out: as a zip through the browser, or into a folder of this machine."""

import tempfile
from pathlib import Path

import streamlit as st

from sdstudio.datasets import DatasetStore, export_dataset
from sdstudio.datasets.query import Query
from sdstudio.ui.session import told
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace

EXPORTS = {
    "CSV with file names": "csv",
    "A .txt beside each picture": "txt",
    "Hugging Face ImageFolder": "imagefolder",
    "Parquet": "parquet",
}


@st.dialog("Export")
def export(workspace: Workspace, store: DatasetStore) -> None:
    label = st.radio("Format", list(EXPORTS), key="export-format")
    format = EXPORTS[label]

    def zipped() -> bytes:
        return zip_export(workspace, store.name, format)

    st.download_button(
        "Download as zip",
        data=zipped,
        file_name=f"{store.name}-{format}.zip",
        mime="application/zip",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
    )
    st.caption("Pictures that are kept out of training are left out.")
    missing = store.count(Query(empty=True, excluded=False))
    if missing:
        read = (
            f" Hugging Face's library `datasets` reads {'None' if format == 'csv' else 'an empty text'} there."
            if format != "txt"
            else ""
        )
        st.caption(f":orange[:material/warning: {count(missing, 'picture')} without a caption.]{read}")
    with st.expander("Into a folder of this machine", icon=":material/folder:"):
        folder = st.text_input("New or empty folder", key="export-folder", placeholder="/home/me/out").strip()
        if st.button("Write", key="export-write", disabled=not folder):
            with told():
                written = export_dataset(workspace, store.name, folder, format)
                st.success(f"{count(written, 'picture')} written to {literal(folder)}.")


def zip_export(workspace: Workspace, dataset: str, format: str) -> bytes:
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.cache) as temporary:
        target = Path(temporary) / f"{dataset}.zip"
        export_dataset(workspace, dataset, target, format)
        return target.read_bytes()
