"""How pictures become what a model is trained on: chosen once for the dataset, seen before it is chosen."""

from collections.abc import Iterator
from dataclasses import replace

import streamlit as st
from PIL import Image

from sdstudio.datasets import DatasetStore, fit
from sdstudio.schema import CaptionedImage
from sdstudio.ui.files import fit_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.session import told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

SHOWN = 12
SIDE = 512


@st.dialog("Prepare pictures", width="large")
def prepare_pictures(workspace: Workspace, store: DatasetStore) -> None:
    settings = store.settings()
    choices = [name for name in fit.CHOICES if name != "face" or fit.faces_can_be_found()]
    now = settings.fit if settings.fit in choices else fit.CENTRE
    choice = st.radio(
        "Fit",
        choices,
        index=choices.index(now),
        format_func=lambda name: fit.CHOICES[name] + (" · in use" if name == settings.fit else ""),
        key=f"fit-{store.name}",
        horizontal=True,
        label_visibility="collapsed",
    )
    if "face" not in choices:
        st.caption(literal(fit.NO_FACES))
    with told():
        images = least_square(store)
        if images:
            also = " Where no face is found, the most detail decides." if choice == "face" else ""
            st.caption(f"The pictures that it matters most for; what is cut off is faded.{also}")
            gallery(list(previews(store, images, choice)), key="fit-previews")
        else:
            st.caption("Every picture is square: nothing is cut off or added.")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Use this", key="use-fit", type="primary", disabled=choice == settings.fit):
            store.save_settings(replace(settings, fit=choice))
            st.toast("Chosen", icon=":material/check:")
            st.rerun()
        st.caption("The stored pictures stay as they are; this is done when a model learns from them.")


def least_square(store: DatasetStore) -> list[CaptionedImage]:
    """The pictures that a square loses most of."""
    lost = [(fit.lost(image.width, image.height, fit.CENTRE, SIDE), image) for image in store.images()]
    worst = sorted((pair for pair in lost if pair[0] > 0), key=lambda pair: -pair[0])
    return [image for _, image in worst[:SHOWN]]


def previews(store: DatasetStore, images: list[CaptionedImage], choice: str) -> Iterator[Item]:
    for image in images:
        note = f"{fit.lost(image.width, image.height, choice, SIDE):.0%} cut off"
        if choice == "none":
            note = "{} × {} px, ".format(*fit.bucket(image.width, image.height, SIDE)) + note
        if choice == "face" and not has_face(store, image):
            note += " · no face"
        yield Item(id=image.id, src=fit_url(store.name, image.id, choice), note=note)


def has_face(store: DatasetStore, image: CaptionedImage) -> bool:
    with Image.open(store.image_path(image.id)) as picture:
        return bool(fit.faces(picture))
