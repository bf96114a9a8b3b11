"""The caption store: pictures in a folder by the hash of their bytes, captions in SQLite beside them."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from sdstudio.datasets import bulk, derived, history, query, settings, snapshots
from sdstudio.datasets.adding import NewPicture, add_pictures
from sdstudio.datasets.bulk import BulkEntry, BulkPreview, BulkResult, Change
from sdstudio.datasets.database import Database
from sdstudio.datasets.history import Action, HistoryEntry
from sdstudio.datasets.intake import is_own_thumb, make_thumb
from sdstudio.datasets.layout import DATABASE_FILE, IMAGE_COLUMNS, MIGRATIONS, to_image
from sdstudio.datasets.memory import Memory
from sdstudio.datasets.query import Around, Positions, Query
from sdstudio.datasets.saving import Added, Outcome, state_after
from sdstudio.datasets.settings import DatasetSettings
from sdstudio.datasets.snapshots import SnapshotInfo
from sdstudio.datasets.text import clean_caption
from sdstudio.datasets.tokens import STARTER, CaptionTokenizer, load_tokenizer
from sdstudio.schema import CaptionedImage, CaptionSource, Snapshot, UserError, from_json, to_json
from sdstudio.workspace import atomic_write

PERSON = "person:local"

_memory = Memory()


class Conflict(UserError):
    """Somebody else changed the caption since it was read; `current` is what is stored now."""

    def __init__(self, current: CaptionedImage) -> None:
        what = "deleted" if current.deleted else "changed"
        super().__init__(
            f"The caption of {current.file_name} was {what} meanwhile ({current.source or 'no source'}, "
            f"version {current.version}); look at the new one and save again."
        )
        self.current = current


class DatasetStore:
    """One dataset's pictures and captions. Any number of stores, threads and processes may use one folder at a time.

    What a method has returned is on disk. Unknown ids are a UserError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._database = Database(folder / DATABASE_FILE, f"The caption store of dataset {self.name!r}")

    def create(self, description: str) -> None:
        """Lay the dataset out in its (empty) folder."""
        for part in ("images", "thumbs", "snapshots"):
            (self.folder / part).mkdir(parents=True)
        self._database.migrate(MIGRATIONS, create=True)
        with self._database.write() as connection:
            connection.execute("INSERT INTO dataset VALUES (?)", (clean_caption(description),))

    def migrate(self) -> None:
        """Bring a dataset that an older studio made up to date."""
        self._database.migrate(MIGRATIONS)

    @property
    def description(self) -> str:
        with self._database.read() as connection:
            return str(connection.execute("SELECT description FROM dataset").fetchone()[0])

    def settings(self) -> DatasetSettings:
        """The dataset's own choices: template, identifier word, fit, tokenizer."""
        with self._database.read() as connection:
            return settings.read(connection)

    def save_settings(self, chosen: DatasetSettings) -> None:
        with self._database.write() as connection:
            settings.write(connection, chosen)

    def change_settings(self, values: Mapping[str, Any]) -> None:
        """Set those of the settings that `values` names; a UserError, and nothing is changed, when one cannot be so."""
        chosen = from_json(DatasetSettings, {**to_json(self.settings()), **values})
        load_tokenizer(chosen.tokenizer or STARTER)
        self.save_settings(chosen)

    def tokenizer(self) -> CaptionTokenizer:
        """What counts this dataset's tokens; a UserError when its folder is not there."""
        return load_tokenizer(self.settings().tokenizer or STARTER)

    # ------------------------------------------------------------ pictures

    def add(self, data: bytes, file_name: str, caption: str = "", source: CaptionSource = "file") -> tuple[str, bool]:
        """Take a picture in; returns (id, is_new). A RefusedPicture says why it is not taken.

        A picture that is here already is not stored twice; it only takes `caption` where it has none and nobody
        has touched it. One that a person deleted stays deleted.
        """
        new = NewPicture(data=data, file_name=file_name, caption=caption, source=source)
        (outcome,) = self.add_many([new])
        if not isinstance(outcome, Added):
            raise outcome
        return outcome.id, outcome.is_new

    def add_many(self, pictures: Iterable[NewPicture]) -> Iterator[Outcome]:
        """Take `pictures` in as `add` does, many times as fast; yields an Added or a RefusedPicture for each.

        They are read lazily, so pass a generator: a bounded number is in memory at a time. What was yielded is on
        disk; they come in the order of `pictures`, some hundred at a time. Stop by closing the iterator.
        """
        return add_pictures(self.folder, self._database, pictures)

    def images(self) -> list[CaptionedImage]:
        """All pictures that are not deleted, in the order in which they came."""
        with self._database.read() as connection:
            rows = connection.execute(f"SELECT {IMAGE_COLUMNS} FROM image WHERE deleted = 0 ORDER BY position")
            return [to_image(row) for row in rows]

    def trained_images(self) -> list[CaptionedImage]:
        """The pictures that a model would learn from: none of what is excluded or deleted."""
        return [image for image in self.images() if not image.excluded]

    def image(self, id: str) -> CaptionedImage:
        with self._database.read() as connection:
            return self._row(connection, id)

    def image_path(self, id: str) -> Path:
        """The stored picture: PNG, JPEG or WebP, upright, RGB."""
        with self._database.read() as connection:
            return self.folder / "images" / f"{id}.{self._facts(connection, id)['extension']}"

    def image_paths(self) -> dict[str, Path]:
        """What `image_path` says of every picture, in one go."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT id, extension FROM image")
            return {id: self.folder.joinpath("images", f"{id}.{extension}") for id, extension in rows}

    def thumb_path(self, id: str) -> Path:
        """A JPEG of at most 256 pixels a side, made again when it is missing; the picture itself if that is small."""
        thumb = self.folder / "thumbs" / f"{id}.jpg"
        path = self.image_path(id)
        if thumb.exists() and thumb.stat().st_size:
            return thumb
        try:
            with Image.open(path) as picture:
                if is_own_thumb(picture.size, path.stat().st_size):
                    picture.load()
                    return path
                atomic_write(thumb, make_thumb(picture))
        except (OSError, SyntaxError) as error:
            raise UserError(f"The stored picture {path} cannot be read; import it again.") from error
        return thumb

    # ------------------------------------------------------------ captions

    def set_caption(self, id: str, text: str, source: CaptionSource, version: int) -> CaptionedImage:
        """Write the caption that a person (or a file) gives, if `version` is still the stored one.

        Raises Conflict, and changes nothing, when it is not.
        """
        with self._database.write() as connection:
            current = self._expect(connection, id, version)
            after = replace(current, caption=clean_caption(text), source=source, state=state_after(source))
            return current if after == current else self._change(connection, after, "edit", source)

    def set_machine_caption(self, id: str, text: str, source: CaptionSource) -> CaptionedImage:
        """Keep a captioner's draft; it becomes the caption too, unless a person has written or approved one."""
        draft = clean_caption(text)
        with self._database.write() as connection:
            current = self._row(connection, id)
            if (draft, source) == (current.caption, current.source):
                return current
            connection.execute("UPDATE image SET machine_caption = ? WHERE id = ?", (draft, id))
            after = replace(current, machine_caption=draft)
            if current.state == "not modified":
                return self._change(connection, replace(after, caption=draft, source=source), "draft", source)
            history.append(connection, [replace(after, caption=draft, source=source)], "aside", source)
            return after

    def approve(self, id: str, version: int, who: str = PERSON) -> CaptionedImage:
        """Mark the caption as good as it is; raises Conflict when `version` is no longer the stored one."""
        with self._database.write() as connection:
            current = self._expect(connection, id, version)
            if not current.caption:
                raise UserError(f"{current.file_name} has no caption to approve; write one first.")
            if current.state == "approved":
                return current
            return self._change(connection, replace(current, state="approved"), "approve", who)

    def undo(self, id: str, who: str = PERSON) -> CaptionedImage:
        """Take back the last change of the picture; again and again, back to how it came."""
        with self._database.write() as connection:
            current = self._row(connection, id)
            standing, _ = history.stacks(history.of_image(connection, id))
            if len(standing) < 2:
                raise UserError(f"There is nothing to undo for {current.file_name}.")
            return self._change(connection, history.as_in(current, standing[-2]), "undo", who)

    def redo(self, id: str, who: str = PERSON) -> CaptionedImage:
        """Do again what the last undo of the picture took back, until something else changes it."""
        with self._database.write() as connection:
            current = self._row(connection, id)
            _, undone = history.stacks(history.of_image(connection, id))
            if not undone:
                raise UserError(f"There is nothing to redo for {current.file_name}.")
            return self._change(connection, history.as_in(current, undone[-1]), "redo", who)

    def history(self, id: str) -> list[HistoryEntry]:
        """Every change of the picture's caption, oldest first."""
        with self._database.read() as connection:
            self._row(connection, id)
            return history.of_image(connection, id)

    # ------------------------------------------------------------ filters

    def count(self, wanted: Query) -> int:
        return len(self._find(wanted))

    def ids(self, wanted: Query) -> list[str]:
        """The ids of all the pictures, in order."""
        positions = self._find(wanted)
        with self._database.read() as connection:
            return query.ids(connection, positions)

    def page(self, wanted: Query, offset: int, limit: int) -> list[CaptionedImage]:
        """`limit` of the pictures from number `offset` (0 is the first)."""
        positions = self._find(wanted)[offset : offset + limit]
        with self._database.read() as connection:
            return query.images(connection, positions)

    def around(self, wanted: Query, id: str) -> Around:
        """Where the picture stands in `wanted`, and which ones to go to from there, also when it matches no more."""
        limit = self._ready(wanted)
        with self._database.read() as connection:
            positions = _memory.find(self._database.path, connection, wanted, limit)
            here = int(self._facts(connection, id)["position"])
            index, inside = query.place(connection, wanted, limit, positions, here)
            after = positions[index + inside :]
            unreviewed = 0
            if wanted.state in (None, "not modified"):
                waiting = _memory.find(self._database.path, connection, replace(wanted, state="not modified"), limit)
                unreviewed = query.first_among(after + positions[:index], waiting, here)
            near = [positions[index - 1] if index else 0, after[0] if after else 0, unreviewed]
            ids = [query.ids(connection, [one])[0] if one else "" for one in near]
        return Around(
            index=index if inside else None, total=len(positions), previous=ids[0], next=ids[1], unreviewed=ids[2]
        )

    def captions(self, wanted: Query = Query()) -> Iterator[CaptionedImage]:  # noqa: B008
        """The pictures in order, read a part at a time, so that 100,000 need little memory."""
        positions = self._find(wanted)
        for start in range(0, len(positions), query.CHUNK):
            with self._database.read() as connection:
                part = query.images(connection, positions[start : start + query.CHUNK])
            yield from part

    def trained_captions(self) -> list[str]:
        """The captions that a model would learn from: no empty ones, none of what is excluded or deleted."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT caption FROM image WHERE deleted = 0 AND excluded = 0 AND caption <> '' ORDER BY position"
            )
            return [caption for (caption,) in rows]

    def sources(self) -> list[tuple[str, int]]:
        """Where captions come from, with how many, most first."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT source, sum(pictures) FROM tally WHERE deleted = 0 AND source <> '' GROUP BY source "
                "HAVING sum(pictures) > 0 ORDER BY 2 DESC"
            )
            return [(row[0], row[1]) for row in rows]

    # ------------------------------------------------------------ bulk edits

    def preview(self, target: Query | Sequence[str], change: Change) -> BulkPreview:
        """What `change` would do to exactly these pictures."""
        with self._database.read() as connection:
            stamp = history.last_number(connection)
        return bulk.preview(self._database, self._ids_of(target), change, stamp)

    def bulk(
        self, target: Query | Sequence[str], change: Change, who: CaptionSource = PERSON, stamp: int | None = None
    ) -> BulkResult:
        """Change exactly these pictures, whole or not at all, as one undo step.

        With the `stamp` of a preview, a picture that changed after it is left alone and reported.
        """
        if stamp is None:
            with self._database.read() as connection:
                stamp = history.last_number(connection)
        return bulk.apply(self._database, self._ids_of(target), change, who, stamp)

    def undo_bulk(self, who: CaptionSource = PERSON) -> BulkResult:
        """Take back the last bulk edit of `who`; a picture that was changed after it is left alone and reported."""
        return bulk.step(self._database, "undo", who)

    def redo_bulk(self, who: CaptionSource = PERSON) -> BulkResult:
        """Do the bulk edit that was taken back last again; changed pictures are left alone and reported."""
        return bulk.step(self._database, "redo", who)

    def bulk_log(self, limit: int = 20) -> list[BulkEntry]:
        """The newest bulk edits of everybody, newest first."""
        return bulk.log(self._database, limit)

    # ------------------------------------------------------------ the whole set

    def refresh(self) -> None:
        """Count tokens and group near-duplicates now, as the first query that needs them would."""
        derived.count_tokens(self._database, self.tokenizer())
        derived.group_near_duplicates(self._database, self.folder)

    def frozen(self) -> Snapshot:
        """The captions as they are now, as a snapshot that is not on disk.

        Deleted pictures and those excluded from training are not in it.
        """
        return snapshots.freeze(self.name, self.trained_images(), self.settings().fit)

    def snapshot(self) -> Snapshot:
        """Freeze the captions as they are now in `snapshots/<hash>.json`; equal content gives the same snapshot."""
        taken = self.frozen()
        if not taken.images:
            raise UserError(f"The dataset {self.name!r} has no pictures; import some first.")
        return snapshots.write_snapshot(self.folder / "snapshots", taken)

    def load_snapshot(self, hash: str) -> Snapshot:
        return snapshots.read_snapshot(self.folder / "snapshots", self.name, hash)

    def snapshots(self) -> list[SnapshotInfo]:
        """The snapshots taken so far, newest first; `snapshots.diff` compares two that were loaded."""
        return snapshots.list_snapshots(self.folder / "snapshots")

    def progress(self) -> tuple[int, int]:
        """(pictures whose caption a person wrote or approved, all pictures)."""
        images, _, modified = self.counts()
        return modified, images

    def counts(self) -> tuple[int, int, int]:
        """(pictures, those with a caption, those whose caption a person wrote or approved)."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT coalesce(sum(pictures), 0), coalesce(sum(pictures * (empty = 0)), 0), "
                "coalesce(sum(pictures * (state <> 'not modified')), 0) FROM tally WHERE deleted = 0"
            ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    # ------------------------------------------------------------ inside

    def _find(self, wanted: Query) -> Positions:
        limit = self._ready(wanted)
        with self._database.read() as connection:
            return _memory.find(self._database.path, connection, wanted, limit)

    def _ready(self, wanted: Query) -> int:
        """See that what `wanted` asks about is worked out; the token limit, 0 when it does not ask for that."""
        if wanted.needs_groups:
            derived.group_near_duplicates(self._database, self.folder)
        if not wanted.needs_tokens:
            return 0
        tokenizer = self.tokenizer()
        derived.count_tokens(self._database, tokenizer)
        return tokenizer.limit

    def _ids_of(self, target: Query | Sequence[str]) -> list[str]:
        return self.ids(target) if isinstance(target, Query) else list(dict.fromkeys(target))

    def _facts(self, connection: sqlite3.Connection, id: str) -> sqlite3.Row:
        return self._select(connection, "position, extension", id)

    def _row(self, connection: sqlite3.Connection, id: str) -> CaptionedImage:
        return to_image(self._select(connection, IMAGE_COLUMNS, id))

    def _select(self, connection: sqlite3.Connection, columns: str, id: str) -> sqlite3.Row:
        if not id.isascii():  # SQLite takes no half characters
            raise self._unknown(id)
        row: sqlite3.Row | None = connection.execute(f"SELECT {columns} FROM image WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise self._unknown(id)
        return row

    def _expect(self, connection: sqlite3.Connection, id: str, version: int) -> CaptionedImage:
        current = self._row(connection, id)
        if current.version != version:
            raise Conflict(current)
        return current

    def _change(
        self, connection: sqlite3.Connection, after: CaptionedImage, action: Action, who: str
    ) -> CaptionedImage:
        (stored,) = history.change(connection, [after], action, who)
        return stored

    def _unknown(self, id: str) -> UserError:
        return UserError(f"The dataset {self.name!r} has no picture {id!r}; reload the list of pictures.")
