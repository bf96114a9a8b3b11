"""The set as thumbnails, a page at a time: choose pictures, open one."""

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.query import Query
from sdstudio.schema import CaptionedImage
from sdstudio.ui.annotate import bulk, filters
from sdstudio.ui.annotate.selection import GRID, choose, chosen_in_browser, recover, revision, selection
from sdstudio.ui.files import thumb_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.session import put_in_address
from sdstudio.ui.text import count

PAGE_SIZE = 60


def show_grid(store: DatasetStore, query: Query, total: int) -> None:
    if not total:
        st.info("No picture matches these filters.", icon=":material/filter_alt_off:")
        st.button("Show all pictures", key="show-all", on_click=filters.show_all)
        return
    pages = -(-total // PAGE_SIZE)
    pictures = st.container()
    page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
    images = store.page(query, (page - 1) * PAGE_SIZE, PAGE_SIZE)
    with pictures:
        show_line(store, query, total, images)
        gallery(
            [to_item(store.name, image) for image in images],
            key=GRID,
            on_open=lambda image_id: put_in_address("image", image_id),
            on_select=lambda ids: chosen_in_browser(store.name, ids),
            selected=selection(store.name),
            revision=revision(),
        )
    if recover(store.name):
        st.rerun()


def show_line(store: DatasetStore, query: Query, total: int, images: list[CaptionedImage]) -> None:
    """How many there are and are chosen, and what can be done with them."""
    chosen = selection(store.name)
    with st.container(horizontal=True, vertical_alignment="center"):
        said = f"**{count(total, 'picture')}**" + (f" · {len(chosen):,} selected" if chosen else "")
        st.markdown(said, width="stretch")
        ids = [image.id for image in images]
        if set(ids) - set(chosen):
            wanted = list(dict.fromkeys([*chosen, *ids]))
            st.button("Select page", key="select-page", type="tertiary", on_click=choose, args=(store.name, wanted))
        if chosen:
            st.button("Clear", key="clear-selection", type="tertiary", on_click=choose, args=(store.name, []))
        bulk.show_buttons(store, query, total, chosen)


def to_item(dataset: str, image: CaptionedImage) -> Item:
    note = "kept out of training" if image.excluded else image.state
    return Item(
        id=image.id,
        src=thumb_url(dataset, image.id),
        text=image.caption,
        note=note,
        done=image.state != "not modified" and not image.excluded,
    )
