"""What is worked out from pictures and captions and kept beside them: token counts, groups of near-duplicates."""

import sqlite3
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdstudio.datasets import settings, similar
from sdstudio.datasets.database import Database
from sdstudio.datasets.tokens import CaptionTokenizer

_CHUNK = 5_000
_FEW = 100
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
    """Number the groups of near-duplicates when pictures came since they were numbered (see `similar`).

    A few new ones are compared with all; many are an occasion to group all anew.
    """
    with database.read() as connection:
        newest = int(connection.execute("SELECT coalesce(max(position), 0) FROM image").fetchone()[0])
        grouped = int(settings.get(connection, _GROUPED) or 0)
    if grouped == newest:
        return
    _complete_fingerprints(database, folder, newest)
    with database.read() as connection:
        positions, pixels = _fingerprints(connection, newest)
        near = dict(connection.execute("SELECT position, near FROM image WHERE near IS NOT NULL").fetchall())
    fresh = int(np.searchsorted(positions, grouped, "right"))
    if len(positions) - fresh <= _FEW:
        wanted = _extended(near, positions, pixels, fresh)
    else:
        numbers = similar.groups(pixels)
        inside = numbers >= 0
        wanted = dict(zip(positions[inside].tolist(), positions[numbers[inside]].tolist(), strict=True))
    changes = [(wanted.get(position), position) for position in near.keys() | wanted.keys()]
    with database.write() as connection:
        connection.executemany(
            "UPDATE image SET near = ? WHERE position = ?",
            [(group, position) for group, position in changes if near.get(position) != group],
        )
        settings.put(connection, _GROUPED, str(newest))


def _extended(
    near: dict[int, int], positions: NDArray[np.int64], pixels: NDArray[np.uint8], fresh: int
) -> dict[int, int]:
    """The groups `near` (position -> group) with the pictures from index `fresh` on taken in."""
    wanted = dict(near)
    left, right = similar.pairs_with(pixels[fresh:], pixels)
    for one, other in zip(positions[fresh:][left].tolist(), positions[right].tolist(), strict=True):
        if one == other:
            continue
        groups = {wanted.get(one, one), wanted.get(other, other)}
        members = {one, other} | {position for position, group in wanted.items() if group in groups}
        wanted |= dict.fromkeys(members, min(members))
    return wanted


def _complete_fingerprints(database: Database, folder: Path, newest: int) -> None:
    """Make the fingerprints of pictures that an older studio took in."""
    with database.read() as connection:
        missing = connection.execute(
            "SELECT position, id, extension FROM image "
            "WHERE position NOT IN (SELECT image FROM fingerprint) AND position <= ?",
            (newest,),
        ).fetchall()
    made = [(row["position"], _fingerprint(folder / "images" / f"{row['id']}.{row['extension']}")) for row in missing]
    if made:
        with database.write() as connection:
            connection.executemany("INSERT OR IGNORE INTO fingerprint VALUES (?, ?)", made)


def _fingerprints(connection: sqlite3.Connection, newest: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
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
