"""Many pictures into a dataset: decoded on every core, made durable a batch at a time while the next one decodes."""

import json
import os
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from sdstudio.datasets.database import Database
from sdstudio.datasets.intake import RefusedPicture, read_picture
from sdstudio.datasets.saving import Known, Outcome, Prepared, Step, save, state_after, sweep, write_file
from sdstudio.datasets.text import clean_caption, clean_file_name
from sdstudio.schema import CaptionedImage, CaptionSource, UserError

BATCH_PICTURES = 2_048
BATCH_BYTES = 64_000_000
BATCH_SECONDS = 1.0
CHUNK_PICTURES = 16
CHUNK_BYTES = 4_000_000
AHEAD_BYTES = 64_000_000
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class NewPicture:
    """A picture file as it comes in, with the caption that came with it."""

    data: bytes
    file_name: str
    caption: str = ""
    source: CaptionSource = "file"


@dataclass
class _Batch:
    """What is saved in one transaction; it is full before anybody has waited long for it."""

    steps: list[Step] = field(default_factory=list)
    bytes: int = 0
    began: float = field(default_factory=time.monotonic)

    def take(self, steps: list[Step]) -> None:
        self.steps += steps
        self.bytes += sum(step.size for step in steps if isinstance(step, Prepared))

    def is_full(self) -> bool:
        late = time.monotonic() - self.began > BATCH_SECONDS
        return len(self.steps) >= BATCH_PICTURES or self.bytes >= BATCH_BYTES or (late and bool(self.steps))


def add_pictures(folder: Path, database: Database, pictures: Iterable[NewPicture]) -> Iterator[Outcome]:
    """Take `pictures` in, lazily; yields what became of each, in their order, once that is on disk."""
    began = folder / "incoming" / secrets.token_hex(8)
    saving: Future[list[Outcome]] | None = None
    batch = _Batch()
    with (
        database.read() as connection,
        ThreadPoolExecutor(1) as writer,
        ThreadPoolExecutor(_CORES) as decoders,
    ):
        try:
            sweep(folder, connection)
            began.mkdir(parents=True)
            for steps in _prepared(decoders, connection, folder, pictures):
                batch.take(steps)
                if batch.is_full():
                    if saving is not None:
                        yield from saving.result()
                    saving = writer.submit(save, folder, database, batch.steps)
                    batch = _Batch()
            if saving is not None:
                yield from saving.result()
            yield from save(folder, database, batch.steps)
        except OSError as error:
            raise UserError(f"The picture cannot be stored in {folder}: {error.strerror}.") from error
        finally:
            decoders.shutdown(cancel_futures=True)
            writer.shutdown()
            with suppress(OSError):
                began.rmdir()


def _prepared(
    decoders: ThreadPoolExecutor, connection: sqlite3.Connection, folder: Path, pictures: Iterable[NewPicture]
) -> Iterator[list[Step]]:
    """The pictures decoded, in order, a chunk at a time: a few chunks are ahead, and no more than `AHEAD_BYTES`."""
    waiting: deque[tuple[Future[list[Step]], int]] = deque()
    ahead = 0
    for chunk in _chunks(pictures):
        size = sum(len(picture.data) for picture in chunk)
        waiting.append((_started(decoders, connection, folder, chunk), size))
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
    decoders: ThreadPoolExecutor, connection: sqlite3.Connection, folder: Path, chunk: list[NewPicture]
) -> Future[list[Step]]:
    """Begin with the chunk; what the dataset has already is not decoded again."""
    origins = [sha256(picture.data).hexdigest() for picture in chunk]
    known = dict(
        connection.execute(
            "WITH asked AS (SELECT value FROM json_each(?)) SELECT id, id FROM image WHERE id IN asked "
            "UNION ALL SELECT origin, id FROM image WHERE origin IN asked AND origin <> id",
            (json.dumps(origins),),
        ).fetchall()
    )

    def work() -> list[Step]:
        return [
            Known(id=known[origin], caption=picture.caption, source=picture.source)
            if origin in known
            else _prepare(folder, picture, origin)
            for picture, origin in zip(chunk, origins, strict=True)
        ]

    return decoders.submit(work)


def _prepare(folder: Path, new: NewPicture, origin: str) -> Step:
    try:
        picture = read_picture(new.data, origin)
    except RefusedPicture as error:
        return RefusedPicture(str(error))  # without its traceback, which holds the pixels that were read so far
    caption = clean_caption(new.caption)
    source = new.source if caption else ""
    files = [folder.joinpath("images", f"{picture.id}.{picture.extension}")]
    write_file(files[0], picture.data)
    if picture.thumb:
        files.append(folder.joinpath("thumbs", f"{picture.id}.jpg"))
        write_file(files[1], picture.thumb)
    return Prepared(
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
        files=tuple(files),
        size=len(picture.data),
    )
