"""The caption store's database: durable, whole or unchanged, and brought up to date."""

import io
import shutil
import sqlite3

import pytest
from PIL import Image

from sdstudio.datasets import create_dataset, list_datasets, open_dataset
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.database import Database, journal_mode
from sdstudio.datasets.layout import MIGRATIONS
from sdstudio.datasets.query import Query
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace

ANN = "person:ann"


def png(colour, size=(16, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def store(ws):
    return create_dataset(ws, "set", "a set")


@pytest.fixture
def red(store):
    id, _ = store.add(png("red"), "red.png", "a red thing")
    return id


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "TRUNCATE"),
        ((3, 44, 5), "TRUNCATE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "TRUNCATE"),
        ((3, 50, 6), "TRUNCATE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 60, 0), "WAL"),
    ],
)
def test_wal_only_where_sqlite_has_the_fix(version, mode):
    assert journal_mode(version) == mode


def test_connections_are_durable(store):
    with store._database.read() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert connection.execute("PRAGMA busy_timeout").fetchone()[0] == 10_000
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        assert mode.upper() == journal_mode(sqlite3.sqlite_version_info)


def test_an_error_in_the_middle_changes_nothing(store, red):
    with pytest.raises(RuntimeError), store._database.write() as connection:
        connection.execute("UPDATE image SET caption = 'half'")
        raise RuntimeError
    assert store.image(red).caption == "a red thing"


def test_a_failed_migration_leaves_the_old_version(tmp_path):
    database = Database(tmp_path / "x.db", "x")
    first = ("CREATE TABLE a (b)",)
    database.migrate([first], create=True)
    with pytest.raises(UserError, match="cannot be used"):
        database.migrate([first, ("CREATE TABLE c (d)", "NOT SQL")])
    with database.read() as connection:
        names = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {"migration", "a"}
    database.migrate([first, ("CREATE TABLE c (d)",)])
    database.migrate([first, ("CREATE TABLE c (d)",)])


def test_a_dataset_of_the_first_version_is_brought_up_to_date(ws, store, red):
    """The old tables are made anew beside the stored pictures, with one edit; all that came later works on them."""
    store.add(png("blue"), "blue.png")
    old = ws.datasets / "old"
    shutil.copytree(store.folder, old)
    rows = [(image.id, image.id, "png", image.file_name, image.width, image.height) for image in store.images()]
    (old / "captions.db").unlink()
    database = Database(old / "captions.db", "old")
    database.migrate(MIGRATIONS[:1], create=True)
    with database.write() as connection:
        connection.execute("INSERT INTO dataset VALUES ('an old one')")
        connection.executemany(
            "INSERT INTO image (id, origin, extension, file_name, width, height, caption, version) "
            "VALUES (?, ?, ?, ?, ?, ?, 'words', 1)",
            rows,
        )
        connection.executemany(
            "INSERT INTO history (image, version, time, who, action, caption, source, state) "
            "VALUES (?, 1, 12.5, 'file', 'add', 'words', 'file', 'not modified')",
            [row[:1] for row in rows],
        )
    opened = open_dataset(ws, "old")
    assert [image.caption for image in opened.images()] == ["words", "words"]
    assert opened.history(red)[0].time == 12.5
    assert opened.set_caption(red, "new words", ANN, 1).version == 2
    assert opened.bulk(Query(duplicate_caption=False), Mark(what="exclude"), ANN).changed == 2
    assert opened.undo(red).caption == "new words"
    assert opened.undo(red).caption == "words"
    assert opened.count(Query(too_long=True)) == opened.count(Query(near_duplicate=True)) == 0
    assert opened.add(png("red"), "again.png") == (red, False)
    assert list_datasets(ws)[0].error == ""
