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

# How many pictures there are of each kind, kept by triggers, so that a page never counts them; file names in order;
# and what the query planner has to know of a large dataset, which it else learns from an ANALYZE that nobody runs.
_KINDS = "deleted, excluded, state, empty, source"
_COUNT = (
    "INSERT INTO tally VALUES ({row}.deleted, {row}.excluded, {row}.state, {row}.caption = '', {row}.source, {step}) "
    "ON CONFLICT DO UPDATE SET pictures = pictures + {step};"
)
_TALLY = (
    f"""CREATE TABLE tally (
        deleted INTEGER NOT NULL,
        excluded INTEGER NOT NULL,
        state TEXT NOT NULL,
        empty INTEGER NOT NULL,
        source TEXT NOT NULL,
        pictures INTEGER NOT NULL,
        PRIMARY KEY ({_KINDS})
    ) STRICT, WITHOUT ROWID""",
    f"INSERT INTO tally SELECT {_KINDS}, count(*) FROM image GROUP BY {_KINDS}",
    f"CREATE TRIGGER tally_added AFTER INSERT ON image BEGIN {_COUNT.format(row='NEW', step=1)} END",
    f"""CREATE TRIGGER tally_changed AFTER UPDATE OF deleted, excluded, state, caption, source ON image
    WHEN (OLD.deleted, OLD.excluded, OLD.state, OLD.caption = '', OLD.source)
        <> (NEW.deleted, NEW.excluded, NEW.state, NEW.caption = '', NEW.source)
    BEGIN {_COUNT.format(row="OLD", step=-1)} {_COUNT.format(row="NEW", step=1)} END""",
    "DROP INDEX image_in_short",
    "CREATE INDEX image_of_name ON image (deleted, file_name COLLATE NOCASE)",
    "ANALYZE",
    "DELETE FROM sqlite_stat1",
    """INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
        ('image', 'sqlite_autoindex_image_1', '100000 1'),
        ('image', 'image_in_order', '100000 50000'),
        ('image', 'image_of_name', '100000 50000 1'),
        ('image', 'image_of_caption', '100000 50000 2'),
        ('history', 'history_of_image', '300000 3 1')""",
)

MIGRATIONS = (_FIRST, _SCALE, _TALLY)

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
