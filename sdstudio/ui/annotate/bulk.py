"""One change to many captions: choose it, look at what it does, do it, take it back."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.bulk import AppendTag, BulkResult, Change, FindReplace, Mark, Prefix, Suffix
from sdstudio.datasets.query import Query
from sdstudio.schema import UserError
from sdstudio.ui.annotate.selection import choose
from sdstudio.ui.session import told
from sdstudio.ui.text import ago, changed, count, literal

SAMPLES = 5
CAPTION_CHANGES = ("Find and replace", "Put before", "Put after", "Append tag")
MARKS = {
    "Approve": "approve",
    "Keep out of training": "exclude",
    "Use for training": "include",
    "Delete": "delete",
    "Bring back": "restore",
}


def show_buttons(store: DatasetStore, query: Query, total: int, chosen: Sequence[str]) -> None:
    """The changes, for exactly the chosen pictures, or for all of the filter when none is chosen."""
    if st.button("Change…", key="open-bulk", icon=":material/edit:", help="Change many captions at once"):
        change_many(store, query, total, chosen)
    log = store.bulk_log(1)
    if log:
        last = log[0]
        label = "Redo" if last.undone else "Undo"
        st.button(
            label,
            key=f"bulk-{label}",
            icon=f":material/{label.lower()}:",
            help=f"{literal(last.label)}: {count(last.changed, 'picture')}, {ago(last.time)}",
            on_click=step,
            args=(store, label),
        )


@st.dialog("Change many pictures", width="medium")
def change_many(store: DatasetStore, query: Query, total: int, chosen: Sequence[str]) -> None:
    show_form(store, query, total, chosen)


def show_form(store: DatasetStore, query: Query, total: int, chosen: Sequence[str]) -> None:
    """Which pictures, what change, what it would do, and the button that does it."""
    target: Query | Sequence[str] = query
    if chosen:
        names = [f"The {len(chosen):,} selected", f"All {total:,} of this filter"]
        if st.radio("Which", names, horizontal=True, key="bulk-target", label_visibility="collapsed") == names[0]:
            target = list(chosen)
    else:
        st.caption(f"All {total:,} of this filter. Select pictures in the grid to change only those.")
    kinds = [*CAPTION_CHANGES, *(name for name in MARKS if (name == "Bring back") == query.deleted)]
    kind = st.pills("Change", kinds, default=kinds[0], required=True, key="bulk-kind", label_visibility="collapsed")
    change = read_change(kind or kinds[0])
    if change is None:
        return
    with told():
        preview = store.preview(target, change)
        st.markdown(f"**{count(preview.count, 'picture')}** will change, {preview.unchanged:,} stay as they are.")
        if not isinstance(change, Mark):
            for _, before, after in preview.samples[:SAMPLES]:
                show_change(before, after)
            if preview.count > SAMPLES:
                st.caption(f"and {preview.count - SAMPLES:,} more")
        label = f"{kind if isinstance(change, Mark) else 'Change'} {count(preview.count, 'picture')}"
        if st.button(label, type="primary", key="bulk-do", disabled=not preview.count):
            result = store.bulk(target, change, stamp=preview.stamp)
            if isinstance(change, Mark) and change.what in ("delete", "restore"):
                choose(store.name, [])
            report(result)
            st.rerun()


def read_change(kind: str) -> Change | None:
    """The widgets of one kind of change; None while they are empty."""
    if kind in MARKS:
        return Mark(what=MARKS[kind])  # type: ignore[arg-type]
    if kind == "Find and replace":
        left, right = st.columns(2)
        find = left.text_input("Find", key="bulk-find", live="300ms")
        replacement = right.text_input("Replace with", key="bulk-replace", live="300ms")
        with st.container(horizontal=True):
            regex = st.toggle("Regular expression", key="bulk-regex")
            match_case = st.toggle("Match case", key="bulk-case", disabled=regex)
        if not find:
            return None
        return FindReplace(find=find, replacement=replacement or "", regex=regex, match_case=match_case)
    labels = {
        "Put before": ("Before every caption", "asim, "),
        "Put after": ("After every caption", ", at night"),
        "Append tag": ("Tag", "cartoon"),
    }
    label, example = labels[kind]
    text = st.text_input(label, key=f"bulk-{kind}", placeholder=example, live="300ms")
    if not text:
        return None
    return {"Put before": partial(Prefix, text=text), "Put after": partial(Suffix, text=text)}.get(
        kind, partial(AppendTag, tag=text)
    )()


def show_change(before: str, after: str) -> None:
    with st.container(border=True):
        st.markdown(changed(before, after))


def step(store: DatasetStore, label: str) -> None:
    try:
        result = store.undo_bulk() if label == "Undo" else store.redo_bulk()
    except UserError as error:
        st.toast(literal(str(error)), icon=":material/error:")
        return
    report(result, "Taken back" if label == "Undo" else "Done again")


def report(result: BulkResult, done: str = "Done") -> None:
    said = f"{done}: {count(result.changed, 'picture')}"
    if result.conflicts:
        said += f"; {len(result.conflicts):,} left alone, somebody changed them meanwhile"
    st.toast(said, icon=":material/check:")
