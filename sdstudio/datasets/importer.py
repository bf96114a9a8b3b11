"""Bring a folder of pictures, with the captions that lie beside them, into a dataset."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sdstudio.datasets.catalog import create_dataset, dataset_exists, open_dataset
from sdstudio.datasets.intake import MAX_BYTES, TOO_MANY_BYTES, RefusedPicture, read_picture
from sdstudio.datasets.sidecars import is_caption_file, read_captions
from sdstudio.jobs.context import JobContext
from sdstudio.schema import ImportConfig, UserError, to_json
from sdstudio.workspace import Workspace, write_json

REPORT_FILE = "report.json"
_PROGRESS_SECONDS = 0.5
_SYSTEM_FILES = {"Thumbs.db", "desktop.ini"}


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did: pictures added, pictures that were there already, and (file, reason) of each refused file."""

    added: int = 0
    duplicates: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False


def import_folder(
    ws: Workspace,
    dataset: str,
    folder: str | Path,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ImportReport:
    """Add every picture under `folder` to `dataset`, which is made with the first usable one.

    Captions come from ImageFolder metadata and same-stem text files (see `sidecars`). Pictures that are there already
    are counted, not stored twice, so the same import may run again.
    `progress` hears (files done, files in all). A UserError when there is nothing to import; no dataset is made then.
    """
    root = Path(folder).expanduser()
    if not str(folder) or not root.is_dir():
        raise UserError(f"There is no folder {str(folder)!r}; give one that holds pictures.")
    store = open_dataset(ws, dataset) if dataset_exists(ws, dataset) else None
    files, refused = _walk(root)
    pictures = [path for path in files if not is_caption_file(path)]
    captions = read_captions(pictures, [path for path in files if is_caption_file(path)])
    refused += captions.problems
    added = duplicates = 0
    stopped = False
    for done, path in enumerate(pictures, start=1):
        stopped = should_stop is not None and should_stop()
        if stopped:
            break
        try:
            data = _read_bytes(path)
            if store is None:
                read_picture(data)
                store = create_dataset(ws, dataset)
            _, is_new = store.add(data, path.relative_to(root).as_posix(), captions.texts.get(path, ""))
            added += is_new
            duplicates += not is_new
        except RefusedPicture as error:
            refused.append((path, str(error)))
        if progress is not None:
            progress(done, len(pictures))
    named = sorted((path.relative_to(root).as_posix(), reason) for path, reason in refused)
    if not (added or duplicates or stopped):
        raise UserError(_nothing_usable(root, named))
    return ImportReport(added=added, duplicates=duplicates, refused=named, stopped=stopped)


def run_import(config: ImportConfig, ctx: JobContext) -> None:
    """The import as a job; what it did is in the job's `report.json`."""
    said = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal said
        if done == total or time.monotonic() - said > _PROGRESS_SECONDS:
            ctx.progress(done, total, "files")
            said = time.monotonic()

    report = import_folder(ctx.workspace, config.dataset, config.folder, progress, ctx.should_stop)
    write_json(ctx.folder / REPORT_FILE, to_json(report))
    ctx.log(f"{report.added} added, {report.duplicates} there already, {len(report.refused)} refused")
    for name, reason in report.refused:
        ctx.log(f"refused {name}: {reason}")


def _walk(root: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """(the files under `root` in natural order without hidden ones, (folder, reason) of what cannot be listed)."""
    files: list[Path] = []
    problems: list[tuple[Path, str]] = []

    def refuse(error: OSError) -> None:
        problems.append((Path(error.filename), f"It cannot be listed: {error.strerror}."))

    for folder, subfolders, names in os.walk(root, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        files += [Path(folder, name) for name in names if not name.startswith(".") and name not in _SYSTEM_FILES]
    return sorted(filter(Path.is_file, files), key=_natural), problems


def _natural(path: Path) -> list[list[str | int]]:
    """img2 before img10."""
    return [[int(piece) if piece.isdecimal() else piece for piece in re.split("([0-9]+)", part)] for part in path.parts]


def _read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RefusedPicture(TOO_MANY_BYTES)
        return path.read_bytes()
    except OSError as error:
        raise RefusedPicture(f"It cannot be read: {error.strerror}.") from error


def _nothing_usable(root: Path, refused: list[tuple[str, str]]) -> str:
    if not refused:
        return f"The folder {root} holds no files; give one that holds PNG, JPEG or WebP pictures."
    name, reason = refused[0]
    return (
        f"The folder {root} holds no usable picture ({len(refused)} files refused, such as {name}: {reason[:-1]}); "
        "give one that holds PNG, JPEG or WebP pictures."
    )
