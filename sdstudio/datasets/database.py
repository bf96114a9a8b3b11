"""An SQLite file that keeps what it acknowledged: how it is opened, written and brought up to date."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sdstudio.schema import UserError

BUSY_SECONDS = 10.0
CACHE_KIB = 16_384
Migrations = Sequence[Sequence[str]]
"""One list of SQL statements per version; version n is the n-th list, applied once and never edited afterwards."""


def journal_mode(version: tuple[int, int, int]) -> str:
    """WAL where this SQLite has the fix of the WAL-reset bug, a rollback journal otherwise.

    The journal is truncated rather than deleted: with `synchronous=FULL` SQLite syncs the truncation, so a commit
    survives a power cut, while the deletion of a file would need a sync of the folder that FULL does not do.
    """
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)
    return "WAL" if fixed else "TRUNCATE"


class Database:
    """One SQLite file. A connection lives as long as one `read` or `write` block, so any thread or process may use it.

    Every error of SQLite leaves as a UserError that names `what`.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self.what = what

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        with self._connection("rw") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its first line; committed at the end, undone by an error."""
        with self._connection("rw") as connection, _transaction(connection):
            yield connection

    def migrate(self, migrations: Migrations, create: bool = False) -> None:
        """Apply what is missing of `migrations`; a UserError when the file comes from a newer studio."""
        with self._connection("rwc" if create else "rw") as connection:
            if _version(connection) == len(migrations):
                return
            with _transaction(connection):
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, applied REAL NOT NULL)"
                )
                present = _version(connection)
                if present > len(migrations):
                    raise UserError(f"{self.what} was made by a newer SD Studio; update this one to open it.")
                for number, statements in enumerate(migrations[present:], start=present + 1):
                    for statement in statements:
                        connection.execute(statement)
                    connection.execute("INSERT INTO migration VALUES (?, ?)", (number, time.time()))

    @contextmanager
    def _connection(self, mode: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
            )
            try:
                connection.row_factory = sqlite3.Row
                connection.execute(f"PRAGMA journal_mode={journal_mode(sqlite3.sqlite_version_info)}")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise UserError(f"{self.what} cannot be used ({error}): look at {self.path} and try again.") from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'migration'").fetchone() is None:
        return 0
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM migration").fetchone()
    return int(version)
