"""Many pictures into a dataset: decoded on every core, made durable a batch at a time while the next one decodes."""

import ctypes
import json
import os
import secrets
import sqlite3
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from sdstudio.datasets import history
from sdstudio.datasets.database import Database
from sdstudio.datasets.history import CaptionState
from sdstudio.datasets.intake import RefusedPicture, read_picture
from sdstudio.datasets.layout import IMAGE_COLUMNS, to_image
from sdstudio.datasets.text import clean_caption, clean_file_name
from sdstudio.schema import CaptionedImage, CaptionSource, UserError
from sdstudio.workspace import sync_folder

BATCH_PICTURES = 2_048
BATCH_BYTES = 64_000_000
BATCH_SECONDS = 1.0
CHUNK_PICTURES = 16
CHUNK_BYTES = 4_000_000
AHEAD_BYTES = 64_000_000
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_FEW_FILES = 8
_LEFTOVER_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True)
class NewPicture:
    """A picture file as it comes in, with the caption that came with it."""

    data: bytes
    file_name: str
    caption: str = ""
    source: CaptionSource = "file"


@dataclass(frozen=True, kw_only=True)
class Added:
    """A picture that is in the dataset: new, or there before; `deleted` when a person deleted it (it stays so)."""

    id: str
    is_new: bool
    deleted: bool = False


Outcome = Added | RefusedPicture


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A picture that was decoded and lies, not yet durable, in `file`."""

    image: CaptionedImage
    origin: str
    extension: str
    fingerprint: bytes
    turned: bool
    file: Path
    thumb: Path | None
    size: int


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A picture whose bytes are here already, with the caption that came with it this time."""

    id: str
    caption: str
    source: CaptionSource


_Step = _Prepared | _Known | RefusedPicture


@dataclass
class _Batch:
    """What is saved in one transaction; it is full before anybody has waited long for it."""

    steps: list[_Step] = field(default_factory=list)
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)

    def take(self, steps: list[_Step]) -> None:
        self.steps += steps
        self.bytes += sum(step.size for step in steps if isinstance(step, _Prepared))

    def is_full(self) -> bool:
        late = time.monotonic() - self.began > BATCH_SECONDS
        return len(self.steps) >= BATCH_PICTURES or self.bytes >= BATCH_BYTES or (late and bool(self.steps))


def add_pictures(folder: Path, database: Database, pictures: Iterable[NewPicture]) -> Iterator[Outcome]:
    """Take `pictures` in, lazily; yields what became of each, in their order, once that is on disk."""
    _remove_leftovers(folder / "incoming")
    incoming = folder / "incoming" / secrets.token_hex(8)
    saving: Future[list[Outcome]] | None = None
    batch = _Batch()
    with (
        database.read() as connection,
        ThreadPoolExecutor(1) as writer,
        ThreadPoolExecutor(_CORES) as decoders,
    ):
        try:
            incoming.mkdir(parents=True)
            for steps in _prepared(decoders, connection, incoming, pictures):
                batch.take(steps)
                if batch.is_full():
                    if saving is not None:
                        yield from saving.result()
                    saving = writer.submit(_save, folder, database, batch.steps)
                    batch = _Batch()
            if saving is not None:
                yield from saving.result()
            yield from _save(folder, database, batch.steps)
        except OSError as error:
            raise UserError(f"The picture cannot be stored in {folder}: {error.strerror}.") from error
        finally:
            decoders.shutdown(cancel_futures=True)
            writer.shutdown()
            _remove(incoming)


def _prepared(
    decoders: ThreadPoolExecutor, connection: sqlite3.Connection, incoming: Path, pictures: Iterable[NewPicture]
) -> Iterator[list[_Step]]:
    """The pictures decoded, in order, a chunk at a time: a few chunks are ahead, and no more than `AHEAD_BYTES`."""
    waiting: deque[tuple[Future[list[_Step]], int]] = deque()
    ahead = 0
    for chunk in _chunks(pictures):
        size = sum(len(picture.data) for picture in chunk)
        waiting.append((_started(decoders, connection, incoming, chunk), size))
        ahead += size
        while len(waiting) > 2 * _CORES or ahead > AHEAD_BYTES:
            future, size = waiting.popleft()
            ahead -= size
            yield future.result()
    for future, _ in waiting:
        yield future.result()


def _chunks(pictures: Iterable[NewPicture]) -> Iterator[list[NewPicture]]:
    """A chunk is what one thread decodes in a go: handing over single small ones costs as much as decoding them."""
    chunk: list[NewPicture] = []
    size = 0
    for picture in pictures:
        chunk.append(picture)
        size += len(picture.data)
        if len(chunk) >= CHUNK_PICTURES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _started(
    decoders: ThreadPoolExecutor, connection: sqlite3.Connection, incoming: Path, chunk: list[NewPicture]
) -> Future[list[_Step]]:
    """Begin with the chunk; what the dataset has already is not decoded again."""
    origins = [sha256(picture.data).hexdigest() for picture in chunk]
    known = dict(
        connection.execute(
            "WITH asked AS (SELECT value FROM json_each(?)) SELECT id, id FROM image WHERE id IN asked "
            "UNION ALL SELECT origin, id FROM image WHERE origin IN asked AND origin <> id",
            (json.dumps(origins),),
        ).fetchall()
    )

    def work() -> list[_Step]:
        return [
            _Known(id=known[origin], caption=picture.caption, source=picture.source)
            if origin in known
            else _prepare(incoming, picture, origin)
            for picture, origin in zip(chunk, origins, strict=True)
        ]

    return decoders.submit(work)


def _prepare(incoming: Path, new: NewPicture, origin: str) -> _Step:
    try:
        picture = read_picture(new.data, origin)
    except RefusedPicture as error:
        return error
    caption = clean_caption(new.caption)
    source = new.source if caption else ""
    file = incoming / f"{secrets.token_hex(8)}.{picture.extension}"
    file.write_bytes(picture.data)
    thumb = None
    if picture.thumb:
        thumb = file.with_suffix(".thumb")
        thumb.write_bytes(picture.thumb)
    return _Prepared(
        image=CaptionedImage(
            id=picture.id,
            file_name=clean_file_name(new.file_name),
            width=picture.width,
            height=picture.height,
            caption=caption,
            source=source,
            version=1,
            state=state_after(source),
        ),
        origin=picture.origin,
        extension=picture.extension,
        fingerprint=picture.fingerprint,
        turned=picture.turned,
        file=file,
        thumb=thumb,
        size=len(picture.data),
    )


def _save(folder: Path, database: Database, batch: list[_Step]) -> list[Outcome]:
    """Files first, then one transaction that names them: what the database knows is there after a power cut."""
    prepared = [step for step in batch if isinstance(step, _Prepared)]
    if prepared:
        _sync([file for step in prepared for file in (step.file, step.thumb) if file is not None])
        for step in prepared:
            step.file.replace(folder / "images" / f"{step.image.id}.{step.extension}")
            if step.thumb is not None:
                step.thumb.replace(folder / "thumbs" / f"{step.image.id}.jpg")
        sync_folder(folder / "images")
    with database.write() as connection:
        return [step if isinstance(step, RefusedPicture) else _register(connection, step) for step in batch]


def _register(connection: sqlite3.Connection, step: _Prepared | _Known) -> Added:
    if isinstance(step, _Known):
        return _fill_caption(connection, step)
    image = step.image
    cursor = connection.execute(
        "INSERT INTO image (id, origin, extension, file_name, width, height, caption, source, version, state, turned, "
        "changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
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
            time.time(),
        ),
    )
    if cursor.rowcount == 0:
        return _fill_caption(connection, _Known(id=image.id, caption=image.caption, source=image.source))
    connection.execute("INSERT INTO fingerprint VALUES (?, ?)", (cursor.lastrowid, step.fingerprint))
    history.append(connection, [image], "add", image.source or "file")
    return Added(id=image.id, is_new=True)


def _fill_caption(connection: sqlite3.Connection, known: _Known) -> Added:
    """A picture that was here takes the new caption where it has none and nobody has touched it."""
    row = connection.execute(f"SELECT {IMAGE_COLUMNS} FROM image WHERE id = ?", (known.id,)).fetchone()
    current = to_image(row)
    caption = clean_caption(known.caption)
    if caption and not current.caption and current.state == "not modified":
        after = replace(current, caption=caption, source=known.source, state=state_after(known.source))
        history.change(connection, [after], "edit", known.source)
    return Added(id=known.id, is_new=False, deleted=current.deleted)


def state_after(source: CaptionSource) -> CaptionState:
    """The state of a caption that comes from `source`."""
    return "modified" if source.startswith("person:") else "not modified"


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


def _remove(folder: Path) -> None:
    with suppress(OSError):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def _remove_leftovers(folder: Path) -> None:
    """What a killed import left more than a day ago."""
    with suppress(OSError):
        for left in folder.iterdir():
            if time.time() - left.stat().st_mtime > _LEFTOVER_SECONDS:
                _remove(left)
