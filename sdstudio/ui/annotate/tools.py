"""What can be done with a whole dataset: two buttons and a menu, each opens a dialog."""

from collections.abc import Callable

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.ui.annotate import bring_in, check, drafts, prepare, push, settings, take_out, versions, words
from sdstudio.ui.session import put_in_address
from sdstudio.workspace import Workspace

MENU: dict[str, Callable[[Workspace, DatasetStore], None]] = {
    "Words…": words.show_words,
    "Snapshots…": versions.show_snapshots,
    "Prepare pictures…": prepare.prepare_pictures,
    "Export…": take_out.export,
    "Push to the Hub…": push.push,
    "Settings…": settings.change_settings,
}


def show_tools(workspace: Workspace, store: DatasetStore) -> None:
    if st.button("Draft captions", icon=":material/auto_awesome:", key="open-draft"):
        put_in_address("view", drafts.VIEW)
        put_in_address("image", "")
        st.rerun()
    if st.button("Add pictures", icon=":material/add_photo_alternate:", key="open-add"):
        bring_in.add_in_dialog(workspace, store.name)
    if st.button("Check", icon=":material/fact_check:", key="open-check", help="What to look at before training"):
        check.check_dataset(workspace, store)
    chosen = st.menu_button("More", list(MENU), icon=":material/more_horiz:", key="more")
    if chosen:
        MENU[chosen](workspace, store)
