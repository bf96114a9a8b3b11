"""One change to many captions: shown before it is done, done as a whole, undone in one step."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from sdstudio.datasets import history, query
from sdstudio.datasets.database import Database
from sdstudio.datasets.history import Action, HistoryEntry
from sdstudio.datasets.layout import IMAGE_COLUMNS, to_image
from sdstudio.datasets.patterns import Pattern
from sdstudio.datasets.text import clean_caption
from sdstudio.schema import STRICT, CaptionedImage, CaptionSource, UserError

SAMPLES = 20
_CLOSING = (",", ".", ";", ":", "!", "?", ")")


@dataclass(frozen=True, kw_only=True)
class FindReplace:
    """Every find becomes `replacement`; a regular expression's groups are `\\\\1` or `\\\\g<name>`."""

    __pydantic_config__ = STRICT
    find: str
    replacement: str = ""
    regex: bool = False
    match_case: bool = False


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """`text` before every caption that does not begin with it already."""

    __pydantic_config__ = STRICT
    text: str


@dataclass(frozen=True, kw_only=True)
class Suffix:
    """`text` after every caption that does not end with it already."""

    __pydantic_config__ = STRICT
    text: str


@dataclass(frozen=True, kw_only=True)
class AppendTag:
    """`tag` after the last comma, where it is not one of the tags already."""

    __pydantic_config__ = STRICT
    tag: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Approve (where there is a caption), keep out of training or take back in, delete or restore."""

    __pydantic_config__ = STRICT
    what: Literal["approve", "exclude", "include", "delete", "restore"]


Change = FindReplace | Prefix | Suffix | AppendTag | Mark


@dataclass(frozen=True, kw_only=True)
class BulkPreview:
    """What a change would do: to how many pictures, how many it leaves as they are, the first few (id, before, after).

    `stamp` goes to the change itself, which then leaves alone, and reports, what changed after this preview.
    """

    count: int
    unchanged: int
    samples: tuple[tuple[str, str, str], ...]
    stamp: int


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """What a bulk action did; `conflicts` are the ids left alone because somebody changed them meanwhile.

    `id` is its number in the history, 0 when it changed nothing.
    """

    id: int
    label: str
    changed: int
    unchanged: int
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BulkEntry:
    """One bulk action of the log. `time` is seconds since the epoch; `undone` while it is taken back."""

    id: int
    time: float
    who: str
    label: str
    changed: int
    undone: bool


# ---------------------------------------------------------------- the change of one picture

_MARKS: dict[str, Callable[[CaptionedImage], CaptionedImage]] = {
    "approve": lambda image: replace(image, state="approved") if image.caption else image,
    "exclude": lambda image: replace(image, excluded=True),
    "include": lambda image: replace(image, excluded=False),
    "delete": lambda image: replace(image, deleted=True),
    "restore": lambda image: replace(image, deleted=False),
}


def label(change: Change) -> str:
    """The change as a sentence without its full stop."""
    match change:
        case FindReplace():
            return f"Replace {change.find!r} with {change.replacement!r}"
        case Prefix():
            return f"Put {change.text!r} before"
        case Suffix():
            return f"Put {change.text!r} after"
        case AppendTag():
            return f"Append the tag {change.tag!r}"
        case Mark():
            return change.what.capitalize()


def prepare(change: Change, who: CaptionSource) -> tuple[Action, Callable[[CaptionedImage], CaptionedImage]]:
    """(its name in the history, what becomes of one picture). A UserError when the change says nothing."""
    if isinstance(change, Mark):
        return change.what, _MARKS[change.what]
    reword = _rewording(change)

    def edit(image: CaptionedImage) -> CaptionedImage:
        caption = clean_caption(reword(image.caption))
        return image if caption == image.caption else replace(image, caption=caption, source=who, state="modified")

    return "edit", edit


def _rewording(change: FindReplace | Prefix | Suffix | AppendTag) -> Callable[[str], str]:
    if isinstance(change, FindReplace):
        if not change.find:
            raise UserError("There is nothing to find; say which words to replace.")
        pattern = Pattern(change.find, change.regex, change.match_case)
        replacement = change.replacement if change.regex else lambda match: change.replacement
        return lambda caption: pattern.replaced_in(caption, replacement)
    text = clean_caption(change.tag if isinstance(change, AppendTag) else change.text)
    if not text:
        raise UserError("There are no words to add; write some.")
    if isinstance(change, Prefix):
        return lambda caption: caption if caption.startswith(text) else f"{text} {caption}"
    if isinstance(change, Suffix):
        space = "" if text.startswith(_CLOSING) else " "
        return lambda caption: caption if caption.endswith(text) else f"{caption}{space}{text}"
    return lambda caption: _with_tag(caption, text)


def _with_tag(caption: str, tag: str) -> str:
    tags = [part.strip().casefold() for part in caption.split(",")]
    if tag.casefold() in tags:
        return caption
    return f"{caption.rstrip().rstrip(',')}, {tag}" if caption else tag


# ---------------------------------------------------------------- many pictures


def preview(database: Database, ids: Sequence[str], change: Change, stamp: int) -> BulkPreview:
    """What `change` would do to the pictures `ids`."""
    _, becomes = prepare(change, "")
    count = 0
    samples: list[tuple[str, str, str]] = []
    with database.read() as connection:
        for images in _in_parts(connection, ids):
            for image in images:
                after = becomes(image)
                if after != image:
                    count += 1
                    if len(samples) < SAMPLES:
                        samples.append((image.id, image.caption, after.caption))
    return BulkPreview(count=count, unchanged=len(ids) - count, samples=tuple(samples), stamp=stamp)


def apply(database: Database, ids: Sequence[str], change: Change, who: CaptionSource, stamp: int) -> BulkResult:
    """Do it, whole or not at all, to those of `ids` that did not change after history row `stamp`."""
    action, becomes = prepare(change, who)
    changed = 0
    conflicts: list[str] = []
    with database.write() as connection:
        touched = history.changed_since(connection, stamp)
        number = _log(connection, who, "do", 0, label(change))
        for images in _in_parts(connection, ids):
            pairs = [(image, becomes(image)) for image in images]
            pairs = [(image, after) for image, after in pairs if image != after]
            conflicts += [image.id for image, _ in pairs if image.id in touched]
            wanted = [after for image, after in pairs if image.id not in touched]
            history.change(connection, wanted, action, who, bulk=number)
            changed += len(wanted)
        if changed:
            connection.execute("UPDATE bulk SET changed = ? WHERE id = ?", (changed, number))
        else:
            connection.execute("DELETE FROM bulk WHERE id = ?", (number,))
    return BulkResult(
        id=number if changed else 0,
        label=label(change),
        changed=changed,
        unchanged=len(ids) - changed - len(conflicts),
        conflicts=tuple(conflicts),
    )


def step(database: Database, action: Literal["undo", "redo"], who: CaptionSource) -> BulkResult:
    """Take back the last bulk action of `who`, or do the last one taken back again.

    A picture that somebody changed since is left alone and reported. A UserError when there is nothing left.
    """
    with database.write() as connection:
        standing, undone = _stacks(connection, who)
        candidates = standing if action == "undo" else undone
        if not candidates:
            raise UserError(f"There is no bulk edit to {action}.")
        target = candidates[-1]
        number = _log(connection, who, action, target.id, target.label)
        ids = [
            row["image"]
            for row in connection.execute("SELECT image FROM history WHERE bulk = ? ORDER BY seq", (target.id,))
        ]
        changed = 0
        conflicts: list[str] = []
        for images in _in_parts(connection, ids):
            entries = _histories(connection, [image.id for image in images])
            wanted = []
            for image in images:
                goal = _goal(entries[image.id], action, target.id)
                if goal is None:
                    conflicts.append(image.id)
                else:
                    wanted.append(history.as_in(image, goal))
            history.change(connection, wanted, action, who, bulk=number)
            changed += len(wanted)
        connection.execute("UPDATE bulk SET changed = ? WHERE id = ?", (changed, number))
    return BulkResult(id=number, label=target.label, changed=changed, unchanged=0, conflicts=tuple(conflicts))


def log(database: Database, limit: int) -> list[BulkEntry]:
    """The newest bulk actions of everybody, newest first; an undo is not a line but a mark on its action."""
    with database.read() as connection:
        people = [row[0] for row in connection.execute("SELECT DISTINCT who FROM bulk")]
        entries = [entry for who in people for stack in _stacks(connection, who) for entry in stack]
    return sorted(entries, key=lambda entry: -entry.id)[:limit]


def _goal(entries: list[HistoryEntry], action: str, bulk: int) -> HistoryEntry | None:
    """The entry to go to, if the picture is still as the bulk action (or its undo) left it."""
    standing, undone = history.stacks(entries)
    if action == "redo":
        return undone[-1] if undone and undone[-1].bulk == bulk else None
    return standing[-2] if standing[-1].bulk == bulk else None


def _stacks(connection: sqlite3.Connection, who: str) -> tuple[list[BulkEntry], list[BulkEntry]]:
    """(bulk actions of `who` that stand, those taken back), the next to undo or redo last."""
    standing: list[BulkEntry] = []
    undone: list[BulkEntry] = []
    rows = connection.execute(
        "SELECT id, time, who, action, label, changed FROM bulk WHERE who = ? ORDER BY id", (who,)
    )
    for id, moment, name, action, text, changed in rows:
        if action == "undo":
            undone.append(replace(standing.pop(), undone=True))
        elif action == "redo":
            standing.append(replace(undone.pop(), undone=False))
        else:
            standing.append(BulkEntry(id=id, time=moment, who=name, label=text, changed=changed, undone=False))
            undone.clear()
    return standing, undone


def _log(connection: sqlite3.Connection, who: str, action: str, target: int, text: str) -> int:
    cursor = connection.execute(
        "INSERT INTO bulk (time, who, action, target, label, changed) VALUES (?, ?, ?, ?, ?, 0)",
        (time.time(), who, action, target, text),
    )
    return int(cursor.lastrowid or 0)


def _in_parts(connection: sqlite3.Connection, ids: Iterable[str]) -> Iterator[list[CaptionedImage]]:
    remaining = iter(ids)
    while part := list(islice(remaining, query.CHUNK)):
        marks = ", ".join("?" * len(part))
        rows = connection.execute(f"SELECT {IMAGE_COLUMNS} FROM image WHERE id IN ({marks})", part)
        found = {row["id"]: to_image(row) for row in rows.fetchall()}
        unknown = next((id for id in part if id not in found), None)
        if unknown is not None:
            raise UserError(f"There is no picture {unknown!r} in this dataset; reload the list of pictures.")
        yield [found[id] for id in part]


def _histories(connection: sqlite3.Connection, ids: list[str]) -> dict[str, list[HistoryEntry]]:
    entries: dict[str, list[HistoryEntry]] = {id: [] for id in ids}
    marks = ", ".join("?" * len(ids))
    rows = connection.execute(
        f"SELECT image, {history.COLUMNS} FROM history WHERE image IN ({marks}) ORDER BY image, seq", ids
    )
    for image, *row in rows:
        entries[image].append(history.to_entry(row))
    return entries
