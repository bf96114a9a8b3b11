"""Which pictures a rater sees, and in which order: the same for one seed, wherever it is made again."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from pathlib import Path

from sdstudio.ratings import store
from sdstudio.ratings.store import Session
from sdstudio.results import Row, read_evaluation

Cell = tuple[str, int]
"""A prompt and a seed."""
BESIDE: dict[store.Kind, int] = {"defect": 1, "preference": 2}
"""How many pictures one task shows."""
EARLY = 3
"""Only the first third comes again, and only in the last half, so that it is not remembered."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing to look at: `pictures` are files of the comparison's folder; `again` is the task that it repeats."""

    id: str
    pictures: tuple[str, ...]
    again: str = ""


@lru_cache(maxsize=32)
def dealt(folder: Path, session: str) -> list[Task]:
    """The tasks of a session of the comparison in `folder`: they never change, neither do its rows."""
    return deal(read_evaluation(folder).rows, store.read(folder).session(session))


def deal(rows: Sequence[Row], session: Session) -> list[Task]:
    """The tasks of a session, shuffled, every model with the same prompts and seeds.

    Of each prompt as many pictures as of any other, give or take one, where only some are shown. The order comes from
    hashes of the seed, not from a generator, and so is the same under every version of Python. A repeated pair comes
    with its sides changed. Pictures of the drift prompts are not among them.
    """
    pictures = [_pictures(row) for row in rows]
    drawn = [[of_model[cell] for of_model in pictures] for cell in _chosen(shared_cells(rows), session)]
    shown = [_sides(chosen, session.seed) for files in drawn for chosen in combinations(files, BESIDE[session.kind])]
    tasks = [Task(id=_hash(session.seed, "task", *files)[:16], pictures=files) for files in shown]
    tasks.sort(key=lambda task: _hash(session.seed, "order", task.id))
    early = sorted(tasks[: -(-len(tasks) // EARLY)], key=lambda task: _hash(session.seed, "again", task.id))
    again = [
        Task(id=_hash(session.seed, "repeat", task.id)[:16], pictures=task.pictures[::-1], again=task.id)
        for task in early[: round(session.repeats * len(tasks))]
    ]
    half = len(tasks) // 2
    late = sorted(tasks[half:] + again, key=lambda task: _hash(session.seed, "late", task.id))
    return tasks[:half] + late


def shared_cells(rows: Sequence[Row]) -> list[Cell]:
    """The prompts and seeds of which every model has a picture."""
    first, *others = [_pictures(row) for row in rows]
    return [cell for cell in first if all(cell in other for other in others)]


def size(rows: Sequence[Row], kind: store.Kind, per_model: int) -> int:
    """How many tasks a question has before any is repeated."""
    return min(per_model or len(shared_cells(rows)), len(shared_cells(rows))) * comb(len(rows), BESIDE[kind])


def _pictures(row: Row) -> dict[Cell, str]:
    return {(picture.prompt, picture.seed): picture.file for picture in row.pictures if not picture.drift}


def _chosen(cells: Sequence[Cell], session: Session) -> list[Cell]:
    """`per_model` of the (prompt, seed) cells, taken from the prompts in turn."""
    by_hash = sorted(cells, key=lambda cell: _hash(session.seed, "cell", *map(str, cell)))
    turns: dict[str, int] = {}
    turn = {}
    for cell in by_hash:
        turn[cell] = turns[cell[0]] = turns.get(cell[0], 0) + 1
    in_turn = sorted(by_hash, key=turn.__getitem__)
    return in_turn[: session.per_model or None]


def _sides(files: tuple[str, ...], seed: int) -> tuple[str, ...]:
    return files if int(_hash(seed, "side", *files), 16) % 2 else files[::-1]


def _hash(seed: int, *parts: str) -> str:
    return hashlib.sha256("\0".join([str(seed), *parts]).encode()).hexdigest()
