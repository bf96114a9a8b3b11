"""What is worked out from pictures and captions and kept beside them: token counts, groups of near-duplicates."""

import sqlite3
from pathlib import Path

import numpy as np
from PIL import Image

from sdstudio.datasets import settings, similar
from sdstudio.datasets.database import Database
from sdstudio.datasets.tokens import CaptionTokenizer

_CHUNK = 5_000
_TOKENIZER, _GROUPED = "tokenizer", "grouped"


def count_tokens(database: Database, tokenizer: CaptionTokenizer) -> None:
    """Count the captions that are new or changed since they were counted; all of them for another tokenizer."""
    with database.read() as connection:
        known = settings.get(connection, _TOKENIZER) == tokenizer.key
    if not known:
        with database.write() as connection:
            connection.execute("UPDATE image SET tokens = NULL WHERE tokens IS NOT NULL")
            settings.put(connection, _TOKENIZER, tokenizer.key)
    while True:
        with database.read() as connection:
            rows = connection.execute(
                "SELECT position, version, caption FROM image WHERE tokens IS NULL LIMIT ?", (_CHUNK,)
            ).fetchall()
        if not rows:
            return
        counts = tokenizer.counts([row["caption"] for row in rows])
        with database.write() as connection:
            connection.executemany(
                "UPDATE image SET tokens = ? WHERE position = ? AND version = ?",
                [(count, row["position"], row["version"]) for count, row in zip(counts, rows, strict=True)],
            )


def group_near_duplicates(database: Database, folder: Path) -> None:
    """Number the groups of near-duplicates anew when pictures came since they were numbered (see `similar`)."""
    with database.read() as connection:
        newest = str(connection.execute("SELECT coalesce(max(position), 0) FROM image").fetchone()[0])
        if settings.get(connection, _GROUPED) == newest:
            return
        missing = connection.execute(
            "SELECT position, id, extension FROM image "
            "WHERE position NOT IN (SELECT image FROM fingerprint) AND position <= ?",
            (newest,),
        ).fetchall()
    if missing:
        made = [
            (row["position"], _fingerprint(folder / "images" / f"{row['id']}.{row['extension']}")) for row in missing
        ]
        with database.write() as connection:
            connection.executemany("INSERT OR IGNORE INTO fingerprint VALUES (?, ?)", made)
    with database.read() as connection:
        positions, pixels = _fingerprints(connection, newest)
    numbers = similar.groups(pixels)
    near = positions[numbers]
    grouped = numbers >= 0
    with database.write() as connection:
        connection.execute("UPDATE image SET near = NULL WHERE near IS NOT NULL")
        connection.executemany(
            "UPDATE image SET near = ? WHERE position = ?",
            zip(near[grouped].tolist(), positions[grouped].tolist(), strict=True),
        )
        settings.put(connection, _GROUPED, newest)


def _fingerprints(connection: sqlite3.Connection, newest: str) -> tuple[np.ndarray, np.ndarray]:
    """(positions (N,), fingerprints (N, 216)) of the pictures that have one."""
    rows = connection.execute(
        "SELECT image, pixels FROM fingerprint WHERE image <= ? AND length(pixels) = ? ORDER BY image",
        (newest, similar.SIZE),
    ).fetchall()
    pixels = np.frombuffer(b"".join(row["pixels"] for row in rows), dtype=np.uint8).reshape(-1, similar.SIZE)
    return np.array([row["image"] for row in rows], dtype=np.int64), pixels


def _fingerprint(path: Path) -> bytes:
    """The fingerprint of a stored picture; empty when it cannot be read."""
    try:
        with Image.open(path) as picture:
            return similar.fingerprint(picture)
    except (OSError, SyntaxError, ValueError):
        return b""
