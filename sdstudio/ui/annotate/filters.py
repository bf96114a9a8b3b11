"""Which pictures are shown, in which order: widgets that live in the address, and the query they make."""

from dataclasses import replace
from typing import Any

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.query import Query
from sdstudio.schema import UserError
from sdstudio.ui.text import literal

STATES: dict[str, dict[str, Any]] = {
    "All": {},
    "Not modified": {"state": "not modified"},
    "Modified": {"state": "modified"},
    "Approved": {"state": "approved"},
    "Kept out of training": {"excluded": True},
    "Deleted": {"deleted": True},
}
KINDS: dict[str, dict[str, Any]] = {
    "Empty": {"empty": True},
    "Too long": {"too_long": True},
    "Duplicate captions": {"duplicate_caption": True},
    "Near-duplicate pictures": {"near_duplicate": True},
    "Differs from the machine's": {"differs": True},
    "Identifier missing": {},
    "Small": {},
    "Turned by the camera": {"turned": True},
}
SORTS: dict[str, str] = {
    "As they came": "added",
    "File name": "name",
    "Caption": "caption",
    "Tokens": "tokens",
    "Last change": "changed",
    "Look-alikes together": "similar",
}
KEYS = ("state", "only", "contains", "regex", "without", "source", "sort", "descending")


def choose_query(store: DatasetStore) -> Query:
    """Draw the filters in one row; returns what they ask for. What is not a valid pattern is said here."""
    settings = store.settings()
    identifier = settings.identifier
    with st.container(horizontal=True, vertical_alignment="bottom"):
        state = st.selectbox("Show", list(STATES), key="state", bind="query-params", width=170)
        only = st.multiselect(
            "Only those that are",
            [kind for kind in KINDS if identifier or kind != "Identifier missing"],
            key="only",
            bind="query-params",
            placeholder="Anything",
        )
        contains = st.text_input(
            "Caption contains",
            type="search",
            key="contains",
            bind="query-params",
            live="300ms",
            placeholder="Any words",
        )
        with st.popover("Sort and more", icon=":material/tune:"):
            more = _more(store)
    query = Query(**STATES[state or "All"], **more)
    for kind in only:
        query = replace(query, **KINDS[kind])
    if "Identifier missing" in only:
        query = replace(query, without=identifier)
    if "Small" in only:
        query = replace(query, smaller_than=settings.resolution)
    words = (contains or "").strip()
    return replace(query, **({"regex": words} if st.session_state.get("regex") else {"contains": words}))


def checked(store: DatasetStore, query: Query) -> int | None:
    """How many pictures `query` finds; None, after saying why, when it cannot be asked."""
    try:
        return store.count(query)
    except UserError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return None


def show_all() -> None:
    """Take every filter off; the order stays."""
    for key in KEYS:
        if key not in ("sort", "descending"):
            st.session_state.pop(key, None)
            st.query_params.pop(key, None)
    for name in ("page", "check"):
        st.query_params.pop(name, None)
    st.session_state.pop("page", None)


def search(pattern: str) -> None:
    """Search the captions with a regular expression, without other filters. For callbacks only."""
    show_all()
    st.session_state["contains"], st.session_state["regex"] = pattern, True


def _more(store: DatasetStore) -> dict[str, Any]:
    sort = st.selectbox("Sort by", list(SORTS), key="sort", bind="query-params")
    descending = st.toggle("The other way round", key="descending", bind="query-params")
    sources = {"": "Anywhere", "person:": "A person", "captioner:": "Any captioner", "file": "A file"}
    sources |= {source: source for source, _ in store.sources() if source not in sources}
    source = st.selectbox(
        "Caption comes from", list(sources), format_func=lambda key: sources[key], key="source", bind="query-params"
    )
    without = st.text_input("Caption lacks the word", key="without", bind="query-params")
    st.toggle(
        "Search with a regular expression",
        key="regex",
        bind="query-params",
        help="Then 'Caption contains' takes a pattern such as `^a (man|woman)`; put (?i) in front to ignore case.",
    )
    return {
        "sort": SORTS[sort or "As they came"],
        "descending": descending,
        "source": source or "",
        "without": (without or "").strip(),
    }
