"""Snapshots: the captions as they were, and what changed between two of them."""

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.snapshots import SnapshotDiff, diff
from sdstudio.schema import CaptionedImage
from sdstudio.ui.files import thumb_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.session import page_file, told
from sdstudio.ui.text import at, changed, count
from sdstudio.workspace import Workspace

SHOWN = 50


@st.dialog("Snapshots", width="medium")
def show_snapshots(workspace: Workspace, store: DatasetStore) -> None:
    st.caption("A training run freezes the captions it learns from. Take one yourself before a large change.")
    with told():
        if st.button("Take a snapshot now", key="take-snapshot", icon=":material/photo_camera:"):
            taken = store.snapshot()
            st.success(f"{count(len(taken.images), 'picture')} frozen as {taken.hash[:8]}.")
        times = {info.hash: f"{at(info.time)} · {info.hash[:8]}" for info in store.snapshots()}
        if len(times) < 2:
            st.caption("There is nothing to compare until there are two of them.")
            return
        left, right = st.columns(2)
        hashes = list(times)
        before = left.selectbox("From", hashes, index=1, format_func=lambda hash: times[hash], key="from-snapshot")
        after = right.selectbox("To", hashes, index=0, format_func=lambda hash: times[hash], key="to-snapshot")
        st.page_link(
            page_file("evaluate"),
            label="Did these captions help?",
            icon=":material/compare_arrows:",
            query_params={"view": "Captions", "before": before, "after": after},
        )
        show_difference(store, diff(store.load_snapshot(before), store.load_snapshot(after)))


def show_difference(store: DatasetStore, found: SnapshotDiff) -> None:
    added, removed, changed = len(found.added), len(found.removed), len(found.changed)
    st.markdown(
        f"**{count(changed, 'caption')}** changed, **{count(added, 'picture')}** added, "
        f"**{count(removed, 'picture')}** removed."
    )
    if found.fit[0] != found.fit[1]:
        st.caption(f"The fit went from {found.fit[0]} to {found.fit[1]}.")
    for before, after in found.changed[:SHOWN]:
        show_pair(store, after, before.caption, after.caption)
    for image in found.added[:SHOWN]:
        show_pair(store, image, "", image.caption, "added")
    for image in found.removed[:SHOWN]:
        show_pair(store, image, image.caption, "", "removed")
    if max(added, removed, changed) > SHOWN:
        st.caption(f"The first {SHOWN} of each are shown; `sdstudio dataset diff` lists all.")


def show_pair(store: DatasetStore, image: CaptionedImage, before: str, after: str, note: str = "") -> None:
    picture, words = st.columns([1, 5], vertical_alignment="center")
    with picture:
        gallery([Item(id=image.id, src=thumb_url(store.name, image.id), note=note)], key=f"diff-{image.id}", cell=4)
    words.markdown(changed(before, after))
