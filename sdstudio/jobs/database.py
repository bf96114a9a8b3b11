"""`studio.db`: the order of the jobs that have not ended, and the one lock under which any state changes.

Everything else is in the jobs' folders. A database that is new, because the old one was lost, takes its rows from them.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from sdstudio.jobs.folder import State, read_state
from sdstudio.jobs.kinds import KINDS
from sdstudio.schema import UserError
from sdstudio.workspace import OWN_FOLDER, Workspace

SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    folder TEXT NOT NULL UNIQUE
)
"""
VERSION = 1


@contextmanager
def transaction(ws: Workspace) -> Iterator[sqlite3.Connection]:
    """Hold the workspace's one write lock; the system frees it when its holder is killed.

    Raises UserError when the database cannot be opened or written.
    """
    try:
        database = _connect(ws)
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise _unusable(ws, error) from error
    with closing(database):
        try:
            if database.execute("PRAGMA user_version").fetchone() != (VERSION,):
                database.execute(SCHEMA)
                enlist(database, unended(ws))
                database.execute(f"PRAGMA user_version = {VERSION}")
            yield database
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(ws, error) from error  # closing rolls back


def listed(ws: Workspace, database: sqlite3.Connection) -> dict[Path, State]:
    """The folders of the queue in order, with their states; rows whose folder was deleted or damaged go."""
    found: dict[Path, State] = {}
    for row in _rows(database):
        state = readable_state(ws.root / row)
        if state:
            found[ws.root / row] = state
        else:
            delist(database, ws.root / row)
    return found


def positions(ws: Workspace) -> dict[Path, int]:
    """The place of each queued job, from 1; read without taking the lock."""
    try:
        with closing(_connect(ws)) as database:
            rows = _rows(database)
    except sqlite3.Error:
        return {}
    states = ((ws.root / row, readable_state(ws.root / row)) for row in rows)
    queued = [folder for folder, state in states if state and state.state == "queued"]
    return {folder: place for place, folder in enumerate(queued, start=1)}


def enlist(database: sqlite3.Connection, jobs: Iterable[tuple[Path, State]]) -> None:
    """Put those that are not there at the end, in the order in which they were made."""
    for folder, _ in sorted(jobs, key=lambda job: (job[1].created, job[0].name)):
        database.execute("INSERT OR IGNORE INTO queue (folder) VALUES (?)", (_row(folder),))


def delist(database: sqlite3.Connection, folder: Path) -> None:
    database.execute("DELETE FROM queue WHERE folder = ?", (_row(folder),))


def reorder(database: sqlite3.Connection, folders: Sequence[Path]) -> None:
    """Give the positions that these folders have to them again, in this order."""
    rows = [_row(folder) for folder in folders]
    marks = ", ".join("?" * len(rows))
    found = database.execute(f"SELECT position FROM queue WHERE folder IN ({marks}) ORDER BY position", rows)
    places = [position for (position,) in found]
    database.execute(f"UPDATE queue SET position = -position WHERE folder IN ({marks})", rows)
    database.executemany("UPDATE queue SET position = ? WHERE folder = ?", zip(places, rows, strict=True))


def job_folders(ws: Workspace) -> Iterator[Path]:
    """Every folder that a kind of job keeps its jobs in, except those still being made."""
    for parent in sorted({kind.parent_folder(ws) for kind in KINDS.values()}):
        if parent.is_dir():
            yield from (path for path in parent.iterdir() if not path.name.startswith("."))


def unended(ws: Workspace) -> list[tuple[Path, State]]:
    """The jobs that have not ended, by their folders."""
    states = ((folder, readable_state(folder)) for folder in job_folders(ws))
    return [(folder, state) for folder, state in states if state and not state.has_ended]


def readable_state(folder: Path) -> State | None:
    """None for a folder that was deleted or damaged, so that one such job does not hide the others."""
    try:
        return read_state(folder)
    except UserError:
        return None


def _connect(ws: Workspace) -> sqlite3.Connection:
    database = sqlite3.connect(ws.database, timeout=30, isolation_level=None)
    database.execute("PRAGMA synchronous=FULL")
    return database


def _unusable(ws: Workspace, error: sqlite3.Error) -> UserError:
    return UserError(f"The queue {ws.database} cannot be used: {error}. {OWN_FOLDER}")


def _rows(database: sqlite3.Connection) -> list[str]:
    return [row for (row,) in database.execute("SELECT folder FROM queue ORDER BY position").fetchall()]


def _row(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"
