"""The answers to the last few queries of this process, kept right while captions change."""

import sqlite3
from array import array
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from threading import Lock

from sdstudio.datasets import history
from sdstudio.datasets.query import Positions, Query, by_position, find, positions_of

_FEW = 200
_REMEMBERED = 16


class Memory:
    """An answer holds as long as the dataset's history does not grow.

    When a few pictures changed since, only those are asked about again, wherever a picture's place in the answer
    depends on nothing but the picture itself.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[object, ...], tuple[int, Positions]] = OrderedDict()
        self._lock = Lock()

    def find(self, path: Path, connection: sqlite3.Connection, query: Query, token_limit: int) -> Positions:
        """What `query.find` answers for the dataset whose database lies at `path`."""
        (settings,) = connection.execute("SELECT group_concat(key || '=' || value) FROM setting").fetchone()
        number = history.last_number(connection)
        key = (path, settings, query, token_limit)
        with self._lock:
            known = self._answers.get(key)
        if known is not None and known[0] == number:
            answer = known[1]
        elif known is not None and 0 < number - known[0] <= _FEW and _can_be_patched(query):
            answer = _patched(connection, query, token_limit, *known)
        else:
            answer = find(connection, query, token_limit)
        with self._lock:
            self._answers[key] = number, answer
            self._answers.move_to_end(key)
            while len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return answer


def _can_be_patched(query: Query) -> bool:
    return by_position(query) and not query.duplicate_caption and not query.near_duplicate


def _patched(
    connection: sqlite3.Connection, query: Query, token_limit: int, number: int, answer: Positions
) -> Positions:
    """`answer`, which was right at history row `number`, brought up to now."""
    changed = history.touched_since(connection, number)
    asked = changed if query.ids is None else changed & set(query.ids)
    still = set(find(connection, replace(query, ids=tuple(asked)), token_limit))
    patched: Positions = array("I", answer)
    for position in positions_of(connection, tuple(changed)):
        place = bisect_left(patched, position)
        present = place < len(patched) and patched[place] == position
        if present and position not in still:
            del patched[place]
        elif not present and position in still:
            patched.insert(place, position)
    return patched
