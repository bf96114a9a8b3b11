"""Everything that was ever drawn here: found, looked at, taken out, deleted and brought back."""

import io
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from sdstudio import collection, jobs
from sdstudio.collection import Page, Picture, Query
from sdstudio.collection.marks import MARKS_FILE, Kind
from sdstudio.schema import UserError
from sdstudio.ui.gallery import gallery
from sdstudio.ui.generate.large import show_picture, undo_delete
from sdstudio.ui.pictures import picture_item
from sdstudio.ui.session import told
from sdstudio.ui.text import count, literal, size
from sdstudio.workspace import Workspace

KEY = "gallery"
SHOWN, OPENED, SELECTED, UNDO = f"{KEY}.shown", f"{KEY}.opened", f"{KEY}.selected", f"{KEY}.undo"
AT_ONCE = 60
MOST_ZIPPED = 500_000_000
"""Bytes of pictures that go through the browser's memory; more are saved to a folder."""
EVERYWHERE = "everywhere"
PLACES = {"batch": "asked for here", "sample": "samples of runs", "evaluation": "of comparisons"}
MARKS = {"favourite": "Favourites", "bad": "Marked as bad", "deleted": "Deleted"}


def show(workspace: Workspace) -> None:
    """Filters, what can be done with what they leave, and the pictures."""
    if not collection.pictures(workspace, count=1).total and not (workspace.images / MARKS_FILE).exists():
        st.info("No picture has been drawn yet. The tab **Ask** draws the first.", icon=":material/photo_library:")
        return
    query = _filters(workspace)
    if st.session_state.get(f"{KEY}.query") != query:
        st.session_state[f"{KEY}.query"] = query
        st.session_state[SHOWN], st.session_state[SELECTED] = AT_ONCE, []
    page = collection.pictures(workspace, query, count=st.session_state[SHOWN])
    _undo(workspace)
    undo_delete(workspace)
    if not page.total:
        nothing = "No picture is in the trash." if query.deleted else "No picture matches these filters."
        st.info(nothing, icon=":material/filter_alt_off:")
        return
    _actions(workspace, query, page)
    gallery(
        [picture_item(workspace, picture) for picture in page.pictures],
        key=f"{KEY}.deleted.grid" if query.deleted else f"{KEY}.grid",
        on_open=None if query.deleted else _opened,
        on_select=_selected,
        selected=st.session_state[SELECTED],
        revision=st.session_state.get(f"{KEY}.revision", ""),
        on_more=_more if page.total > len(page.pictures) else None,
    )
    picture = st.session_state.pop(OPENED, "")
    if picture:
        with told():
            show_picture(workspace, collection.picture_path(workspace, picture), collection.record(workspace, picture))


def _filters(workspace: Workspace) -> Query:
    runs = {job.id: job.title or job.id for job in jobs.list_jobs(workspace, "train")}
    with st.grid(columns="auto", min_column_width=190, vertical_alignment="bottom"):
        text = st.text_input(
            "Prompt contains", type="search", key=f"{KEY}.text", live="300ms", placeholder="Any words",
            persist_state="session",
        )  # fmt: skip
        place = st.selectbox(
            "Where from",
            [EVERYWHERE, *PLACES],
            format_func=lambda name: PLACES.get(name, name).capitalize(),
            key=f"{KEY}.place",
            persist_state="session",
        )
        run = st.selectbox(
            "Drawn by the run",
            list(runs),
            index=None,
            format_func=lambda name: runs.get(name, name),
            placeholder="Any run",
            key=f"{KEY}.run",
            persist_state="session",
        )
        rating = st.selectbox(
            "Rated at least",
            range(6),
            format_func=lambda stars: "★" * stars or "Any",
            key=f"{KEY}.rating",
            persist_state="session",
        )
    marked = st.pills(
        "Only", list(MARKS), format_func=MARKS.__getitem__, key=f"{KEY}.marked", persist_state="session",
        label_visibility="collapsed",
    )  # fmt: skip
    return Query(
        text=text.strip(),
        source="" if place == EVERYWHERE else place,
        run=run or "",
        rating=rating,
        favourite=marked == "favourite",
        bad="*" if marked == "bad" else "",
        deleted=marked == "deleted",
    )


def _opened(picture: str) -> None:
    st.session_state[OPENED] = picture


def _selected(pictures: list[str]) -> None:
    st.session_state[SELECTED] = pictures


def _more() -> None:
    st.session_state[SHOWN] += AT_ONCE


# ---------------------------------------------------------------- with several


def _actions(workspace: Workspace, query: Query, page: Page) -> None:
    """How many there are, and what can be done with the chosen ones, or with all where none is chosen."""
    chosen: list[str] = st.session_state[SELECTED]
    with st.container(horizontal=True, vertical_alignment="center"):
        said = f"**{count(page.total, 'picture')}**" + (f" · {len(chosen):,} selected" if chosen else "")
        st.markdown(said, width="stretch")
        if chosen:
            st.button("Clear", key=f"{KEY}.clear", type="tertiary", on_click=_choose, args=([],))
            if query.deleted:
                st.button(
                    "Bring back", key=f"{KEY}.restore", icon=":material/restore_from_trash:",
                    on_click=_mark_all, args=(workspace, chosen, "restored"),
                )  # fmt: skip
            else:
                st.button(
                    "Delete", key=f"{KEY}.delete", icon=":material/delete:",
                    on_click=_mark_all, args=(workspace, chosen, "deleted"),
                )  # fmt: skip
        if not query.deleted:
            box = st.popover("Export", icon=":material/ios_share:", key=f"{KEY}.out", on_change="rerun")
            if box.open:
                with box:
                    _take_out(workspace, _meant(workspace, query, chosen))


def _choose(pictures: list[str]) -> None:
    """Set the selection from here, which the browser then takes over."""
    st.session_state[SELECTED] = pictures
    st.session_state[f"{KEY}.revision"] = str(int(st.session_state.get(f"{KEY}.revision") or 0) + 1)


def _mark_all(workspace: Workspace, pictures: Sequence[str], kind: Kind) -> None:
    """Delete or bring back; what cannot be is said, and the others are done."""
    done, problems = [], []
    for picture in pictures:
        try:
            collection.mark(workspace, picture, kind)
            done.append(picture)
        except UserError as error:
            problems.append(str(error))
    if kind == "deleted":
        st.session_state[UNDO] = done
    for problem in dict.fromkeys(problems):
        st.toast(literal(problem), icon=":material/error:")
    _choose([])


def _undo(workspace: Workspace) -> None:
    deleted = st.session_state.get(UNDO)
    if not deleted:
        return

    def restore() -> None:
        _mark_all(workspace, st.session_state.pop(UNDO), "restored")

    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Deleted {count(len(deleted), 'picture')}.", width="content")
        st.button("Undo", key=f"{KEY}.undo-delete", icon=":material/undo:", type="tertiary", on_click=restore)


def _meant(workspace: Workspace, query: Query, chosen: Sequence[str]) -> list[Picture]:
    """The chosen pictures, or all that the filters leave."""
    found = collection.pictures(workspace, query, count=10**9).pictures
    return [picture for picture in found if picture.ref in set(chosen)] if chosen else list(found)


def _take_out(workspace: Workspace, meant: Sequence[Picture]) -> None:
    total = sum((workspace.root / picture.ref).stat().st_size for picture in meant)
    st.markdown(f"{count(len(meant), 'picture')}, {size(total)}, with a table of their settings")

    def zipped() -> bytes:
        memory = io.BytesIO()
        collection.write_zip(workspace, meant, memory)
        return memory.getvalue()

    if total <= MOST_ZIPPED:
        st.download_button(
            "Download as zip", data=zipped, file_name="pictures.zip", mime="application/zip", on_click="ignore",
            icon=":material/download:", key=f"{KEY}.zip",
        )  # fmt: skip
    else:
        st.caption(f"More than {size(MOST_ZIPPED)} are saved to a folder.")
    folder = st.text_input("Folder on this machine", key=f"{KEY}.folder", placeholder=str(Path.home() / "pictures"))
    if st.button("Save there", key=f"{KEY}.save", icon=":material/save:", disabled=not folder.strip()):
        with told():
            saved = collection.export_folder(workspace, meant, Path(folder.strip()))
            st.success(f"{count(saved, 'picture')} and their table are in {literal(folder.strip())}.")
