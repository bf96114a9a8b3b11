"""Which pictures, in which order: filters that answer in a fraction of a second for 100,000 pictures."""

import json
import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from sdstudio.datasets import patterns
from sdstudio.datasets.layout import IMAGE_COLUMNS, to_image
from sdstudio.schema import STRICT, CaptionedImage, CaptionState, option

Sort = Literal["added", "name", "caption", "tokens", "changed", "similar"]

CHUNK = 500
_FEW = 2_000

_ORDER: dict[Sort, tuple[str, ...]] = {
    "added": ("position",),
    "name": ("file_name COLLATE NOCASE", "position"),
    "caption": ("caption COLLATE NOCASE", "position"),
    "tokens": ("tokens", "position"),
    "changed": ("changed", "position"),
    "similar": ("near IS NULL", "near", "position"),
}


@dataclass(frozen=True, kw_only=True)
class Query:
    """Pictures that meet every condition given; the plain one is all that are not deleted, in the order they came."""

    __pydantic_config__ = STRICT
    contains: str = option("", "The caption holds this text, in either case.")
    regex: str = option("", "The caption matches this regular expression; (?i) in front ignores case.")
    word: str = option("", "The caption holds this word by itself.")
    without: str = option("", "The caption lacks this word.")
    state: CaptionState | None = option(None, "What was done with the caption.")
    source: str = option("", "Where the caption comes from begins so: 'person:', 'captioner:blip', 'file'.")
    empty: bool = option(False, "There is no caption.")
    too_long: bool = option(False, "The text encoder does not see the caption's last words.")
    duplicate_caption: bool = option(False, "Another picture has the same caption.")
    near_duplicate: bool = option(False, "Another picture is nearly the same.")
    differs: bool = option(False, "The caption is not the machine's.")
    turned: bool = option(False, "EXIF turned the picture when it came in.")
    smaller_than: int = option(0, "The shorter side has fewer pixels than this; 0 does not ask.", low=0)
    excluded: bool | None = option(None, "Kept out of training, or not.")
    deleted: bool = option(False, "The deleted ones instead.")
    ids: tuple[str, ...] | None = option(None, "Only these pictures.")
    sort: Sort = option("added", "The order.")
    descending: bool = option(False, "The other way round.")

    @property
    def needs_tokens(self) -> bool:
        return self.too_long or self.sort == "tokens"

    @property
    def needs_groups(self) -> bool:
        return self.near_duplicate or self.sort == "similar"


@dataclass(frozen=True, kw_only=True)
class Around:
    """Where a picture stands in a query: its index (None when it does not match, or no more) of `total`, and the ids
    to go to, empty where there is none. `unreviewed` is the next one that is not modified, from the start again after
    the end."""

    index: int | None
    total: int
    previous: str = ""
    next: str = ""
    unreviewed: str = ""


Positions: TypeAlias = "array[int]"


def find(connection: sqlite3.Connection, query: Query, token_limit: int = 0, including: int = 0) -> Positions:
    """The positions (row numbers) of the pictures, in order; with `including`, that one too, at its place."""
    conditions, values = _conditions(query, token_limit)
    filters = _caption_filters(query)
    if filters and len(conditions) == 1 and by_position(query) and not including:
        captions = _all_captions(connection, query.deleted)
        return array("I", sorted(position for position, _ in _accepted(captions, filters)))
    where = " AND ".join(conditions)
    if including:
        where = f"({where}) OR position = {including:d}"
    direction = " DESC" if query.descending else ""
    order = ", ".join(key + direction for key in _ORDER[query.sort])
    rows = _plain(connection, f"SELECT position FROM image WHERE {where} ORDER BY {order}", values)
    found = array("I", [row[0] for row in rows])
    if not filters:
        return found
    kept = {position for position, _ in _accepted(_captions(connection, found, query.deleted), filters)}
    return array("I", [position for position in found if position in kept or position == including])


def _plain(connection: sqlite3.Connection, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All rows as plain tuples, which take half the time of `sqlite3.Row`."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(statement, values).fetchall()


def _conditions(query: Query, token_limit: int) -> tuple[list[str], list[object]]:
    conditions: list[str] = ["deleted = ?"]
    values: list[object] = [int(query.deleted)]

    def add(condition: str, *more: object) -> None:
        conditions.append(condition)
        values.extend(more)

    if query.excluded is not None:
        add("excluded = ?", int(query.excluded))
    if query.state is not None:
        add("state = ?", query.state)
    if query.source:
        add("substr(source, 1, ?) = ?", len(query.source), query.source)
    if query.empty:
        add("empty = 1")
    if query.too_long:
        add("tokens > ?", token_limit)
    if query.duplicate_caption:
        add(
            "caption COLLATE NOCASE IN (SELECT caption FROM image WHERE deleted = ? AND caption <> '' "
            "GROUP BY caption COLLATE NOCASE HAVING count(*) > 1)",
            int(query.deleted),
        )
    if query.near_duplicate:
        add(
            "near IN (SELECT near FROM image WHERE near IS NOT NULL AND deleted = ? GROUP BY near HAVING count(*) > 1)",
            int(query.deleted),
        )
    if query.differs:
        add("machine_caption <> '' AND caption <> machine_caption")
    if query.turned:
        add("turned = 1")
    if query.smaller_than:
        add("min(width, height) < ?", query.smaller_than)
    if query.ids is not None:
        add("id IN (SELECT value FROM json_each(?))", json.dumps(query.ids))
    return conditions, values


Captions: TypeAlias = "Sequence[tuple[int, str]]"
"""(position, caption) of pictures."""


def _caption_filters(query: Query) -> list[Callable[[Captions], Captions]]:
    """What the words of captions are asked, each as what it leaves of them."""
    filters: list[Callable[[Captions], Captions]] = []
    if query.contains:
        needle = query.contains.casefold()
        filters.append(lambda captions: [row for row in captions if needle in row[1].casefold()])
    if query.word:
        holds = patterns.has_word(query.word)
        filters.append(lambda captions: [row for row in captions if holds(row[1])])
    if query.without:
        present = patterns.has_word(query.without)
        filters.append(lambda captions: [row for row in captions if not present(row[1])])
    if query.regex:
        filters.append(patterns.Pattern(query.regex, is_regex=True).matching)
    return filters


def _accepted(captions: Captions, filters: Sequence[Callable[[Captions], Captions]]) -> Captions:
    for accepted in filters:
        captions = accepted(captions)
    return captions


def _all_captions(connection: sqlite3.Connection, deleted: bool) -> Captions:
    statement = "SELECT position, caption FROM image INDEXED BY image_of_caption WHERE deleted = ?"
    return _plain(connection, statement, (int(deleted),))


def _captions(connection: sqlite3.Connection, positions: Positions, deleted: bool) -> Captions:
    if len(positions) > _FEW:
        wanted = set(positions)
        return [row for row in _all_captions(connection, deleted) if row[0] in wanted]
    return _plain(
        connection,
        "SELECT position, caption FROM image WHERE position IN (SELECT value FROM json_each(?))",
        (json.dumps(positions.tolist()),),
    )


def images(connection: sqlite3.Connection, positions: Sequence[int]) -> list[CaptionedImage]:
    """The pictures at `positions`, in that order; made for a page of them."""
    rows = connection.execute(
        f"SELECT position, {IMAGE_COLUMNS} FROM image WHERE position IN (SELECT value FROM json_each(?))",
        (json.dumps(list(positions)),),
    )
    found = {row[0]: to_image(row[1:]) for row in rows}
    return [found[position] for position in positions]


def positions_of(connection: sqlite3.Connection, ids: Sequence[str]) -> list[int]:
    """The positions of the pictures `ids`, in any order."""
    statement = "SELECT position FROM image WHERE id IN (SELECT value FROM json_each(?))"
    return [row[0] for row in _plain(connection, statement, (json.dumps(ids),))]


def ids(connection: sqlite3.Connection, positions: Sequence[int]) -> list[str]:
    """The ids of the pictures at `positions`, in that order."""
    if len(positions) > _FEW:
        rows = connection.execute("SELECT position, id FROM image")
    else:
        rows = connection.execute(
            "SELECT position, id FROM image WHERE position IN (SELECT value FROM json_each(?))",
            (json.dumps(list(positions)),),
        )
    found: dict[int, str] = dict(rows.fetchall())
    return [found[position] for position in positions]


def place(
    connection: sqlite3.Connection, query: Query, token_limit: int, positions: Positions, here: int
) -> tuple[int, bool]:
    """(the index of picture `here` in the answer `positions`, or the one it would have; whether it is in it)."""
    if by_position(query):
        index = bisect_left(positions, here)
        return index, index < len(positions) and positions[index] == here
    if here in positions:
        return positions.index(here), True
    return find(connection, query, token_limit, including=here).index(here), False


def first_among(positions: Positions, wanted: Positions, but: int) -> int:
    """The first of `positions` that is one of `wanted` and not `but`; 0 when there is none."""
    order, chosen = np.array(positions, dtype=np.int64), np.array(wanted, dtype=np.int64)
    is_wanted = np.zeros(max(order.max(initial=0), chosen.max(initial=0), but) + 1, dtype=bool)
    is_wanted[chosen] = True
    is_wanted[but] = False
    found = np.flatnonzero(is_wanted[order])
    return int(order[found[0]]) if len(found) else 0


def by_position(query: Query) -> bool:
    """Whether the answer is in the order of its numbers."""
    return query.sort == "added" and not query.descending
