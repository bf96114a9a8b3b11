"""Look through a dataset, draft captions, put them right, bring pictures in and take them out."""

from collections.abc import Sequence

import streamlit as st

from sdstudio.datasets import DatasetInfo, list_datasets, open_dataset
from sdstudio.datasets.query import Query
from sdstudio.ui.annotate import check, filters
from sdstudio.ui.annotate.bring_in import add_pictures
from sdstudio.ui.annotate.drafts import VIEW, show_drafts
from sdstudio.ui.annotate.editor import show_editor
from sdstudio.ui.annotate.grid import show_grid
from sdstudio.ui.annotate.jobs_view import show_job
from sdstudio.ui.annotate.progress import show_progress_with_chart
from sdstudio.ui.annotate.tools import show_tools
from sdstudio.ui.session import in_address, put_in_address
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace, current_workspace


def main() -> None:
    workspace = current_workspace()
    st.title("Annotate")
    datasets = [item for item in list_datasets(workspace) if not item.error]
    if not datasets:
        show_start(workspace)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        store = open_dataset(workspace, choose_dataset(datasets))
        with st.container(horizontal=True, width="content"):
            show_tools(workspace, store)
    show_job(workspace)
    if not store.counts()[0] and not store.count(Query(deleted=True)):
        st.info(
            "This dataset is empty: bring pictures in with **Add pictures**.", icon=":material/add_photo_alternate:"
        )
        return
    if in_address("view") == VIEW:
        show_drafts(workspace, store)
        return
    if in_address("image"):
        with st.expander("Which pictures", icon=":material/filter_alt:"):
            query = filters.choose_query(store)
        show_editor(store, check.narrowed(store, query))
        return
    if store.description:
        st.caption(literal(store.description))
    show_progress_with_chart(store)
    query = check.narrowed(store, filters.choose_query(store))
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
    if in_address("dataset") not in ("", *names):
        st.toast("The dataset of this address is not here any more: another is shown.", icon=":material/link_off:")
    return st.selectbox("Dataset", names, key="dataset", bind="query-params", on_change=changed)


main()
