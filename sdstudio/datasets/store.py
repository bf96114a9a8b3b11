"""The caption store: pictures in a folder by the hash of their bytes, captions in SQLite beside them."""

import sqlite3
from hashlib import sha256
from pathlib import Path, PurePosixPath

from PIL import Image

from sdstudio.datasets import history
from sdstudio.datasets.database import Database
from sdstudio.datasets.history import Action, CaptionState, HistoryEntry
from sdstudio.datasets.intake import make_thumb, read_picture
from sdstudio.datasets.snapshots import read_snapshot, write_snapshot
from sdstudio.schema import CaptionedImage, CaptionSource, Snapshot, UserError
from sdstudio.workspace import atomic_write

PERSON = "person:local"
DATABASE_FILE = "captions.db"

MIGRATIONS = (
    (
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
        *history.SCHEMA,
    ),
)

_COLUMNS = "id, file_name, width, height, caption, source, machine_caption, version, state"


class Conflict(UserError):
    """Somebody else changed the caption since it was read; `current` is what is stored now."""

    def __init__(self, current: CaptionedImage) -> None:
        super().__init__(
            f"The caption of {current.file_name} was changed meanwhile ({current.source or 'no source'}, "
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

    # ------------------------------------------------------------ pictures

    def add(self, data: bytes, file_name: str, caption: str = "", source: CaptionSource = "file") -> tuple[str, bool]:
        """Take a picture in; returns (id, is_new). A RefusedPicture says why it is not taken.

        A picture that is here already is not stored twice; it only takes `caption` where it has none and nobody
        has touched it.
        """
        known = self._id_of_origin(sha256(data).hexdigest())
        if known:
            self._fill_caption(known, caption, source)
            return known, False
        picture = read_picture(data)
        try:
            atomic_write(self.folder / "images" / f"{picture.id}.{picture.extension}", picture.data)
            atomic_write(self._thumb_file(picture.id), picture.thumb)
        except OSError as error:
            raise UserError(f"The picture cannot be stored in {self.folder}: {error.strerror}.") from error
        with self._database.write() as connection:
            cursor = connection.execute(
                "INSERT INTO image (id, origin, extension, file_name, width, height) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO NOTHING",
                (
                    picture.id,
                    picture.origin,
                    picture.extension,
                    clean_file_name(file_name),
                    picture.width,
                    picture.height,
                ),
            )
            is_new = cursor.rowcount == 1
            if is_new:
                caption = clean_caption(caption)
                source = source if caption else ""
                self._record(connection, picture.id, "add", source or "file", caption, source, _state_after(source))
        if not is_new:
            self._fill_caption(picture.id, caption, source)
        return picture.id, is_new

    def images(self) -> list[CaptionedImage]:
        """All pictures, in the order in which they came."""
        with self._database.read() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM image ORDER BY position")
            return [CaptionedImage(**row) for row in rows]

    def image(self, id: str) -> CaptionedImage:
        with self._database.read() as connection:
            return self._row(connection, id)

    def image_path(self, id: str) -> Path:
        """The stored picture: PNG, JPEG or WebP, upright, RGB."""
        with self._database.read() as connection:
            row = connection.execute("SELECT extension FROM image WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise self._unknown(id)
        return self.folder / "images" / f"{id}.{row['extension']}"

    def thumb_path(self, id: str) -> Path:
        """A WebP of at most 256 pixels a side; made again when it is missing."""
        path = self.image_path(id)
        thumb = self._thumb_file(id)
        if not thumb.exists():
            try:
                with Image.open(path) as picture:
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
            after = (clean_caption(text), source, _state_after(source))
            if after == (current.caption, current.source, current.state):
                return current
            return self._record(connection, id, "edit", source, *after)

    def set_machine_caption(self, id: str, text: str, source: CaptionSource) -> CaptionedImage:
        """Keep a captioner's draft; it becomes the caption too, unless a person has written or approved one."""
        draft = clean_caption(text)
        with self._database.write() as connection:
            current = self._row(connection, id)
            if (draft, source) == (current.caption, current.source):
                return current
            connection.execute("UPDATE image SET machine_caption = ? WHERE id = ?", (draft, id))
            if current.state == "not modified":
                return self._record(connection, id, "draft", source, draft, source, "not modified")
            history.append(
                connection,
                id,
                version=current.version,
                who=source,
                action="aside",
                caption=draft,
                source=source,
                state=current.state,
            )
            return self._row(connection, id)

    def approve(self, id: str, version: int, who: str = PERSON) -> CaptionedImage:
        """Mark the caption as good as it is; raises Conflict when `version` is no longer the stored one."""
        with self._database.write() as connection:
            current = self._expect(connection, id, version)
            if not current.caption:
                raise UserError(f"{current.file_name} has no caption to approve; write one first.")
            if current.state == "approved":
                return current
            return self._record(connection, id, "approve", who, current.caption, current.source, "approved")

    def undo(self, id: str, who: str = PERSON) -> CaptionedImage:
        """Take back the last change of the caption; again and again, back to how the picture came."""
        with self._database.write() as connection:
            current = self._row(connection, id)
            earlier = history.before_last_change(history.of_image(connection, id))
            if earlier is None:
                raise UserError(f"There is nothing to undo for {current.file_name}.")
            return self._record(connection, id, "undo", who, earlier.caption, earlier.source, earlier.state)

    def history(self, id: str) -> list[HistoryEntry]:
        """Every change of the picture's caption, oldest first."""
        with self._database.read() as connection:
            self._row(connection, id)
            return history.of_image(connection, id)

    # ------------------------------------------------------------ the whole set

    def snapshot(self) -> Snapshot:
        """Freeze the captions as they are now in `snapshots/<hash>.json`; equal content gives the same snapshot."""
        images = self.images()
        if not images:
            raise UserError(f"The dataset {self.name!r} has no pictures; import some first.")
        return write_snapshot(self.folder / "snapshots", self.name, images)

    def load_snapshot(self, hash: str) -> Snapshot:
        return read_snapshot(self.folder / "snapshots", self.name, hash)

    def progress(self) -> tuple[int, int]:
        """(pictures whose caption a person wrote or approved, all pictures)."""
        images, _, modified = self.counts()
        return modified, images

    def counts(self) -> tuple[int, int, int]:
        """(pictures, those with a caption, those whose caption a person wrote or approved)."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(sum(caption <> ''), 0), coalesce(sum(state <> 'not modified'), 0) FROM image"
            ).fetchone()
        return int(row[0]), int(row[1]), int(row[2])

    # ------------------------------------------------------------ inside

    def _thumb_file(self, id: str) -> Path:
        return self.folder / "thumbs" / f"{id}.webp"

    def _id_of_origin(self, origin: str) -> str:
        with self._database.read() as connection:
            row = connection.execute("SELECT id FROM image WHERE id = ?1 OR origin = ?1", (origin,)).fetchone()
        return str(row["id"]) if row else ""

    def _fill_caption(self, id: str, caption: str, source: CaptionSource) -> None:
        caption = clean_caption(caption)
        if not caption:
            return
        with self._database.write() as connection:
            current = self._row(connection, id)
            if not current.caption and current.state == "not modified":
                self._record(connection, id, "edit", source, caption, source, _state_after(source))

    def _row(self, connection: sqlite3.Connection, id: str) -> CaptionedImage:
        row = connection.execute(f"SELECT {_COLUMNS} FROM image WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise self._unknown(id)
        return CaptionedImage(**row)

    def _expect(self, connection: sqlite3.Connection, id: str, version: int) -> CaptionedImage:
        current = self._row(connection, id)
        if current.version != version:
            raise Conflict(current)
        return current

    def _record(
        self,
        connection: sqlite3.Connection,
        id: str,
        action: Action,
        who: str,
        caption: str,
        source: CaptionSource,
        state: CaptionState,
    ) -> CaptionedImage:
        """Make it the caption, one version on, and say so in the history."""
        connection.execute(
            "UPDATE image SET caption = ?, source = ?, state = ?, version = version + 1 WHERE id = ?",
            (caption, source, state, id),
        )
        after = self._row(connection, id)
        history.append(
            connection,
            id,
            version=after.version,
            who=who,
            action=action,
            caption=caption,
            source=source,
            state=state,
        )
        return after

    def _unknown(self, id: str) -> UserError:
        return UserError(f"The dataset {self.name!r} has no picture {id!r}; reload the list of pictures.")


def clean_caption(text: str) -> str:
    """One line: line breaks become spaces, ends are stripped, what UTF-8 cannot hold is replaced."""
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def clean_file_name(name: str) -> str:
    """A relative path with '/' between its parts, without '..', drive or control characters."""
    printable = "".join(letter if letter.isprintable() else "_" for letter in name.replace("\\", "/"))
    parts = [part for part in PurePosixPath(printable.replace(":", "_")).parts if part not in ("/", "..")]
    return "/".join(parts) or "picture"


def _state_after(source: CaptionSource) -> CaptionState:
    return "modified" if source.startswith("person:") else "not modified"
