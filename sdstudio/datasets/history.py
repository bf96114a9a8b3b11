"""What happened to each caption: who, when, what. Rows are only ever added; an undo is one more row."""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sdstudio.schema import CaptionedImage, CaptionState

Action = Literal[
    "add", "edit", "draft", "aside", "approve", "undo", "redo", "exclude", "include", "delete", "restore"
]  # fmt: skip

COLUMNS = "version, time, who, action, caption, source, state, excluded, deleted, bulk"


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One change of one picture. `time` is seconds since the epoch; what it says of the picture is so after it.

    Actions: `add` and `edit` by a file or a person; `draft`, a machine's draft that became the caption; `aside`, a
    draft kept beside a person's caption (here `caption` is the draft); `approve`; `exclude` and `include` of training;
    `delete` and `restore`; `undo` and `redo`. `bulk` is the number of the bulk action it was part of.
    """

    version: int
    time: float
    who: str
    action: Action
    caption: str
    source: str
    state: CaptionState
    excluded: bool = False
    deleted: bool = False
    bulk: int | None = None


def change(
    connection: sqlite3.Connection,
    images: Sequence[CaptionedImage],
    action: Action,
    who: str,
    bulk: int | None = None,
) -> list[CaptionedImage]:
    """Make `images` what the store holds, each one version on, and say so in the history; returns them so."""
    now = time.time()
    after = [replace(image, version=image.version + 1) for image in images]
    connection.executemany(
        "UPDATE image SET tokens = CASE WHEN caption = ?1 THEN tokens END, caption = ?1, source = ?2, state = ?3, "
        "excluded = ?4, deleted = ?5, version = ?6, changed = ?7 WHERE id = ?8",
        (
            (item.caption, item.source, item.state, item.excluded, item.deleted, item.version, now, item.id)
            for item in after
        ),
    )
    append(connection, after, action, who, now, bulk)
    return after


def append(
    connection: sqlite3.Connection,
    images: Iterable[CaptionedImage],
    action: Action,
    who: str,
    now: float | None = None,
    bulk: int | None = None,
) -> None:
    """Add one row for each of `images`, which say what is so after it."""
    now = now or time.time()
    connection.executemany(
        f"INSERT INTO history (image, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                item.id,
                item.version,
                now,
                who,
                action,
                item.caption,
                item.source,
                item.state,
                item.excluded,
                item.deleted,
                bulk,
            )
            for item in images
        ),
    )


def append_added(connection: sqlite3.Connection, ids: str) -> None:
    """Say of the pictures `ids` (a JSON list), as they are in the store, that they came in."""
    connection.execute(
        f"INSERT INTO history (image, {COLUMNS}) SELECT id, version, changed, "
        "CASE source WHEN '' THEN 'file' ELSE source END, 'add', caption, source, state, excluded, deleted, NULL "
        "FROM image WHERE id IN (SELECT value FROM json_each(?)) ORDER BY position",
        (ids,),
    )


def last_number(connection: sqlite3.Connection) -> int:
    """The number of the newest row of all: it grows with every change of any picture."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM history").fetchone()[0])


def changed_since(connection: sqlite3.Connection, number: int) -> set[str]:
    """The pictures that changed after row `number` was written."""
    rows = connection.execute("SELECT DISTINCT image FROM history WHERE seq > ? AND action <> 'aside'", (number,))
    return {row[0] for row in rows}


def touched_since(connection: sqlite3.Connection, number: int) -> set[str]:
    """The pictures of which anything may differ from what it was at row `number`, drafts kept aside too."""
    return {row[0] for row in connection.execute("SELECT image FROM history WHERE seq > ?", (number,))}


def of_image(connection: sqlite3.Connection, image: str) -> list[HistoryEntry]:
    """Oldest first."""
    return [
        to_entry(row)
        for row in connection.execute(f"SELECT {COLUMNS} FROM history WHERE image = ? ORDER BY seq", (image,))
    ]


def to_entry(row: Iterable[Any]) -> HistoryEntry:
    """A row of `COLUMNS` as a HistoryEntry."""
    version, moment, who, action, caption, source, state, excluded, deleted, bulk = row
    return HistoryEntry(
        version=version,
        time=moment,
        who=who,
        action=action,
        caption=caption,
        source=source,
        state=state,
        excluded=bool(excluded),
        deleted=bool(deleted),
        bulk=bulk,
    )


def stacks(entries: Iterable[HistoryEntry]) -> tuple[list[HistoryEntry], list[HistoryEntry]]:
    """(what stands, oldest first; what was undone and can be redone, the next to redo last).

    An undo goes back to the last but one of what stands; repeated ones walk back to how the picture came. Any change
    other than undo and redo forgets what was undone.
    """
    standing: list[HistoryEntry] = []
    undone: list[HistoryEntry] = []
    for entry in entries:
        if entry.action == "undo":
            undone.append(standing.pop())
        elif entry.action == "redo":
            standing.append(undone.pop())
        elif entry.action != "aside":
            standing.append(entry)
            undone.clear()
    return standing, undone


def as_in(image: CaptionedImage, entry: HistoryEntry) -> CaptionedImage:
    """`image` with what `entry` says: its words, where they come from, its state and flags."""
    return replace(
        image,
        caption=entry.caption,
        source=entry.source,
        state=entry.state,
        excluded=entry.excluded,
        deleted=entry.deleted,
    )
