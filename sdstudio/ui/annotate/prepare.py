"""How pictures become what a model is trained on: chosen once for the dataset, seen before it is chosen."""

from dataclasses import replace

import streamlit as st
from PIL import Image

from sdstudio.datasets import DatasetStore, fit
from sdstudio.schema import CaptionedImage
from sdstudio.ui.session import told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

SHOWN = 6
SIDE = 512


@st.dialog("Prepare pictures", width="medium")
def prepare_pictures(workspace: Workspace, store: DatasetStore) -> None:
    settings = store.settings()
    choices = [name for name in fit.CHOICES if name != "face" or fit.faces_can_be_found()]
    choice = st.radio(
        "Fit",
        choices,
        index=choices.index(settings.fit) if settings.fit in choices else 0,
        format_func=lambda name: fit.CHOICES[name],
        key=f"fit-{store.name}",
        label_visibility="collapsed",
    )
    if "face" not in choices:
        st.caption(literal(fit.NO_FACES))
    with told():
        images = least_square(store)
        if not images:
            st.caption("Every picture is square: nothing is cut off or added.")
        show_before_and_after(store, images, choice)
    st.caption("The stored pictures stay as they are; this is done when a model learns from them.")
    if st.button("Use this", key="use-fit", type="primary", disabled=choice == settings.fit):
        store.save_settings(replace(settings, fit=choice))
        st.toast("Chosen", icon=":material/check:")
        st.rerun()


def least_square(store: DatasetStore) -> list[CaptionedImage]:
    """The pictures that a square loses most of."""
    lost = [(fit.lost(image.width, image.height, fit.CENTRE, SIDE), image) for image in store.images()]
    worst = sorted((pair for pair in lost if pair[0] > 0), key=lambda pair: -pair[0])
    return [image for _, image in worst[:SHOWN]]


def show_before_and_after(store: DatasetStore, images: list[CaptionedImage], choice: str) -> None:
    for start in range(0, len(images), 3):
        for column, image in zip(st.columns(3), images[start : start + 3], strict=False):
            with column, Image.open(store.image_path(image.id)) as picture:
                picture.load()
                before, after = st.columns(2)
                small = picture.copy()
                small.thumbnail((SIDE // 2, SIDE // 2))
                before.image(small, width="stretch")
                after.image(fit.apply(picture, choice, SIDE // 2), width="stretch")
                st.caption(f"{fit.lost(image.width, image.height, choice, SIDE):.0%} cut off")
