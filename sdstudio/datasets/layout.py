"""The tables of `captions.db`, one list of statements per version; see `database.Migrations`."""

import sqlite3

from sdstudio.schema import CaptionedImage

DATABASE_FILE = "captions.db"

_FIRST = (
    "CREATE TABLE dataset (description TEXT NOT NULL) STRICT",
    """CREATE TABLE image (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        origin TEXT NOT NULL,
        extension TEXT NOT NULL,
        file_name TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        caption TEXT NOT NULL DEFAULT '',
        source TEXT NOT NULL DEFAULT '',
        machine_caption TEXT NOT NULL DEFAULT '',
        version INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'not modified'
    ) STRICT""",
    "CREATE INDEX image_of_origin ON image (origin)",
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

# Exclusion, soft deletion, bulk edits, and what makes 100,000 pictures quick to ask about. `tokens` is NULL until it
# is counted; `near` is the picture's group of near-duplicates; `turned` says that EXIF turned it at intake.
_SCALE = (
    "ALTER TABLE image ADD COLUMN excluded INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE image ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE image ADD COLUMN turned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE image ADD COLUMN changed REAL NOT NULL DEFAULT 0",
    "ALTER TABLE image ADD COLUMN tokens INTEGER",
    "ALTER TABLE image ADD COLUMN near INTEGER",
    "ALTER TABLE image ADD COLUMN empty INTEGER GENERATED ALWAYS AS (caption = '') VIRTUAL",
    "DROP INDEX image_of_origin",
    "CREATE INDEX image_of_other_origin ON image (origin) WHERE origin <> id",
    "CREATE INDEX image_in_order ON image (deleted)",
    "CREATE INDEX image_in_short ON image (deleted, excluded, state, empty)",
    "CREATE INDEX image_of_caption ON image (deleted, caption COLLATE NOCASE)",
    "CREATE INDEX image_uncounted ON image (tokens) WHERE tokens IS NULL",
    "CREATE INDEX image_near ON image (near, deleted) WHERE near IS NOT NULL",
    "CREATE TABLE fingerprint (image INTEGER PRIMARY KEY, pixels BLOB NOT NULL) STRICT",
    "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "INSERT INTO setting VALUES ('uid', hex(randomblob(8)))",
    "ALTER TABLE history ADD COLUMN excluded INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE history ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE history ADD COLUMN bulk INTEGER",
    "CREATE INDEX history_of_bulk ON history (bulk) WHERE bulk IS NOT NULL",
    """CREATE TABLE bulk (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time REAL NOT NULL,
        who TEXT NOT NULL,
        action TEXT NOT NULL,
        target INTEGER NOT NULL,
        label TEXT NOT NULL,
        changed INTEGER NOT NULL
    ) STRICT""",
    """UPDATE image SET changed = (SELECT coalesce(max(time), 0) FROM history WHERE history.image = image.id)""",
)

MIGRATIONS = (_FIRST, _SCALE)

IMAGE_COLUMNS = "id, file_name, width, height, caption, source, machine_caption, version, state, excluded, deleted"


def to_image(row: sqlite3.Row) -> CaptionedImage:
    """A row of `IMAGE_COLUMNS` as the noun."""
    id, file_name, width, height, caption, source, machine_caption, version, state, excluded, deleted = row
    return CaptionedImage(
        id=id,
        file_name=file_name,
        width=width,
        height=height,
        caption=caption,
        source=source,
        machine_caption=machine_caption,
        version=version,
        state=state,
        excluded=bool(excluded),
        deleted=bool(deleted),
    )
