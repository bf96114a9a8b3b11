"""Decoded pictures become part of a dataset: their files made durable first, then one transaction that names them."""

import ctypes
import json
import os
import secrets
import shutil
import sqlite3
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path

from sdstudio.datasets import history
from sdstudio.datasets.database import Database
from sdstudio.datasets.intake import RefusedPicture
from sdstudio.datasets.layout import IMAGE_COLUMNS, to_image
from sdstudio.datasets.similar import SIZE as FINGERPRINT_SIZE
from sdstudio.datasets.text import clean_caption
from sdstudio.schema import CaptionedImage, CaptionSource, CaptionState
from sdstudio.workspace import sync_folder

_FEW_FILES = 8
_LEFTOVER_SECONDS = 86_400.0


def state_after(source: CaptionSource) -> CaptionState:
    """The state of a caption that comes from `source`."""
    return "modified" if source.startswith("person:") else "not modified"


@dataclass(frozen=True, kw_only=True)
class Added:
    """A picture that is in the dataset: new, or there before; `deleted` when a person deleted it (it stays so)."""

    id: str
    is_new: bool
    deleted: bool = False


Outcome = Added | RefusedPicture


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A picture that was decoded and lies, not yet durable, in `files`: itself, and its thumb where it has one."""

    image: CaptionedImage
    origin: str
    extension: str
    fingerprint: bytes
    turned: bool
    files: tuple[Path, ...]
    size: int


@dataclass(frozen=True, kw_only=True)
class Known:
    """A picture whose bytes are here already, with the caption that came with it this time."""

    id: str
    caption: str
    source: CaptionSource


Step = Prepared | Known | RefusedPicture


def save(folder: Path, database: Database, batch: list[Step]) -> list[Outcome]:
    """Files first, then one transaction that names them: what the database knows is there after a power cut."""
    prepared = [step for step in batch if isinstance(step, Prepared)]
    if prepared:
        _sync([file for step in prepared for file in step.files])
        sync_folder(folder / "images")
    with database.write() as connection:
        new = _register(connection, prepared)
        return [step if isinstance(step, RefusedPicture) else _outcome(connection, step, new) for step in batch]


def _register(connection: sqlite3.Connection, prepared: list[Prepared]) -> dict[str, Prepared]:
    """Write down those that are not there yet, and return them by their id.

    One statement takes in a whole batch, so that the interpreter is free for decoding meanwhile.
    """
    new = {step.image.id: step for step in reversed(prepared)}  # of equal pictures the first
    ids = json.dumps(list(new))
    there = connection.execute("SELECT id FROM image WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    for row in there.fetchall():
        del new[row["id"]]
    new = {step.image.id: step for step in prepared if new.get(step.image.id) is step}
    rows = [(*_facts(step), time.time()) for step in new.values()]
    ids = json.dumps(list(new))
    values = ", ".join(f"json_extract(value, '$[{index}]')" for index in range(len(_FACTS)))
    connection.execute(
        f"INSERT INTO image ({', '.join(_FACTS)}) SELECT {values} FROM json_each(?) ORDER BY key", (json.dumps(rows),)
    )
    connection.execute(
        "INSERT INTO fingerprint SELECT position, substr(?, key * ? + 1, ?) "
        "FROM json_each(?) AS asked JOIN image ON image.id = asked.value",
        (b"".join(step.fingerprint for step in new.values()), FINGERPRINT_SIZE, FINGERPRINT_SIZE, ids),
    )
    history.append_added(connection, ids)
    return new


_FACTS = (
    "id", "origin", "extension", "file_name", "width", "height", "caption", "source", "version", "state", "turned",
    "changed",
)  # fmt: skip


def _facts(step: Prepared) -> tuple[object, ...]:
    image = step.image
    return (
        image.id,
        step.origin,
        step.extension,
        image.file_name,
        image.width,
        image.height,
        image.caption,
        image.source,
        image.version,
        image.state,
        step.turned,
    )


def _outcome(connection: sqlite3.Connection, step: Prepared | Known, new: dict[str, Prepared]) -> Added:
    if isinstance(step, Known):
        return _fill_caption(connection, step)
    image = step.image
    if new.get(image.id) is step:
        return Added(id=image.id, is_new=True)
    return _fill_caption(connection, Known(id=image.id, caption=image.caption, source=image.source))


def _fill_caption(connection: sqlite3.Connection, known: Known) -> Added:
    """A picture that was here takes the new caption where it has none and nobody has touched it."""
    row = connection.execute(f"SELECT {IMAGE_COLUMNS} FROM image WHERE id = ?", (known.id,)).fetchone()
    current = to_image(row)
    caption = clean_caption(known.caption)
    if caption and not current.caption and current.state == "not modified":
        after = replace(current, caption=caption, source=known.source, state=state_after(known.source))
        history.change(connection, [after], "edit", known.source)
    return Added(id=known.id, is_new=False, deleted=current.deleted)


def write_file(path: Path, data: bytes) -> None:
    """A file of that name holds the same, or is the beginning that a killed import left: it is replaced whole."""
    try:
        with FileIO(path, "x") as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
    except FileExistsError:
        beside = path.with_name(f".{secrets.token_hex(8)}")
        beside.write_bytes(data)
        beside.replace(path)


def _sync(files: list[Path]) -> None:
    """Make the files' bytes durable: the whole file system at once where that is cheaper and Linux can."""
    if len(files) > _FEW_FILES and sys.platform == "linux":
        descriptor = os.open(files[0].parent, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) == 0:
                return
        finally:
            os.close(descriptor)
    for file in files:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())


def sweep(folder: Path, connection: sqlite3.Connection) -> None:
    """Remove what imports that were killed more than a day ago had written, and did not come to name."""

    def is_old(path: Path) -> bool:
        return time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS

    with suppress(OSError):
        killed = [began for began in (folder / "incoming").iterdir() if is_old(began)]
        if not killed:
            return
        known = {row[0] for row in connection.execute("SELECT id FROM image")}
        for part in ("images", "thumbs"):
            for file in (folder / part).iterdir():
                if file.stem not in known and is_old(file):
                    file.unlink()
        for began in killed:
            shutil.rmtree(began)
