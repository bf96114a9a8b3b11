"""What happened to each caption: who, when, what. Rows are only ever added; an undo is one more row."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Action = Literal["add", "edit", "draft", "aside", "approve", "undo"]
CaptionState = Literal["not modified", "modified", "approved"]

SCHEMA = (
    """CREATE TABLE history (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        image TEXT NOT NULL,
        version INTEGER NOT NULL,
        time REAL NOT NULL,
        who TEXT NOT NULL,
        action TEXT NOT NULL,
        caption TEXT NOT NULL,
        source TEXT NOT NULL,
        state TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX history_of_image ON history (image, seq)",
    """CREATE TRIGGER history_keeps_rows BEFORE DELETE ON history
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END""",
    """CREATE TRIGGER history_keeps_words BEFORE UPDATE ON history
    BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END""",
)


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One change of one picture. `time` is seconds since the epoch; caption, source and state are those after it.

    Actions: `add` and `edit` by a file or a person; `draft`, a machine's draft that became the caption; `aside`, a
    draft kept beside a person's caption (here `caption` is the draft); `approve`; `undo`.
    """

    version: int
    time: float
    who: str
    action: Action
    caption: str
    source: str
    state: CaptionState


def append(
    connection: sqlite3.Connection,
    image: str,
    *,
    version: int,
    who: str,
    action: Action,
    caption: str,
    source: str,
    state: CaptionState,
) -> None:
    connection.execute(
        "INSERT INTO history (image, version, time, who, action, caption, source, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (image, version, time.time(), who, action, caption, source, state),
    )


def of_image(connection: sqlite3.Connection, image: str) -> list[HistoryEntry]:
    """Oldest first."""
    rows = connection.execute(
        "SELECT version, time, who, action, caption, source, state FROM history WHERE image = ? ORDER BY seq", (image,)
    )
    return [HistoryEntry(**row) for row in rows]


def before_last_change(entries: Iterable[HistoryEntry]) -> HistoryEntry | None:
    """The entry that an undo goes back to: repeated undos walk back to the first one. None when nothing is left."""
    standing: list[HistoryEntry] = []
    for entry in entries:
        if entry.action == "undo":
            standing.pop()
        elif entry.action != "aside":
            standing.append(entry)
    return standing[-2] if len(standing) > 1 else None
