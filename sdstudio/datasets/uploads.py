"""Files that came through the browser, laid on disk for an import to read; gone when it has."""

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from sdstudio.datasets.text import clean_file_name
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace, new_id, safe_join

KEPT_SECONDS = 7 * 24 * 3600.0


def stage_uploads(ws: Workspace, files: Iterable[tuple[str, IO[bytes]]]) -> Path:
    """Write uploaded (name, open file)s to disk and return what `ImportConfig.folder` then names.

    That is the one file itself where it is a zip file or a table, else the folder of all. Two files of one name are
    both kept. The import takes the folder away when it has ended; what nobody imported goes after a week.
    """
    _forget_old(ws)
    folder = uploads_folder(ws) / new_id("upload")
    written: list[Path] = []
    try:
        for name, file in files:
            path = _free(safe_join(folder, clean_file_name(name)))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:
                shutil.copyfileobj(file, target)
            written.append(path)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"The upload cannot be kept ({error.strerror}); free some space and try again.") from error
    if not written:
        raise UserError("No file was uploaded; choose pictures or one zip file.")
    alone = len(written) == 1 and written[0].suffix.lower() in (".zip", ".parquet")
    return written[0] if alone else folder


def uploads_folder(ws: Workspace) -> Path:
    return ws.cache / "uploads"


def discard_upload(ws: Workspace, place: str) -> None:
    """Take away what `stage_uploads` wrote at `place`; any other place is left alone."""
    uploads = uploads_folder(ws).resolve()
    path = Path(place).resolve()
    if path != uploads and path.is_relative_to(uploads):
        shutil.rmtree(uploads / path.relative_to(uploads).parts[0], ignore_errors=True)


def _free(path: Path) -> Path:
    """`path`, or where that is taken `path` with a number."""
    number = 2
    free = path
    while free.exists():
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free


def _forget_old(ws: Workspace) -> None:
    for folder in uploads_folder(ws).glob("*"):
        if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
