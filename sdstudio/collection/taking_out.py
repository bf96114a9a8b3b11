"""Pictures taken out of the studio: a folder or a zip file, with a table of their settings."""

import csv
import io
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from sdstudio.collection.finding import Picture
from sdstudio.collection.marks import picture_path
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import GeneratedImage, UserError
from sdstudio.workspace import Workspace, require_space

TABLE = "pictures.csv"
_COLUMNS = (
    "file", "prompt", "negative_prompt", "model", "run", "seed", "steps", "guidance_scale", "scheduler", "width",
    "height", "rating", "favourite", "bad",
)  # fmt: skip
_OWN = ("prompt", "model", "run", "seed", "width", "height")


def export_folder(ws: Workspace, chosen: Sequence[Picture], target: Path) -> int:
    """Copy the pictures and their table into `target`, a new or empty folder; returns how many.

    Raises UserError, before anything is written, for a folder that holds something and for a full disk.
    """
    target = target.expanduser()
    if not target.is_absolute():
        raise UserError(f"Give the whole path of the folder, such as {Path.home() / 'pictures'}.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is not an empty folder: choose a new one, nothing was written.")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {target} cannot be made: {error.strerror}.") from error
    files = list(_files(ws, chosen))
    require_space(target, sum(path.stat().st_size for _, path in files) * 1.01, "these pictures")
    for name, path in files:
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target / name)
    (target / TABLE).write_text(_table(ws, chosen), encoding="utf-8", newline="")
    return len(files)


def write_zip(ws: Workspace, chosen: Sequence[Picture], target: IO[bytes]) -> None:
    """The same as a zip file; PNGs are not compressed once more."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, path in _files(ws, chosen):
            archive.write(path, name)
        archive.writestr(TABLE, _table(ws, chosen))


def _files(ws: Workspace, chosen: Sequence[Picture]) -> Iterator[tuple[str, Path]]:
    for picture in chosen:
        yield _name(picture), picture_path(ws, picture.ref)


def _name(picture: Picture) -> str:
    """'<job>/<file>'; the folder inside a run or an evaluation joins the file's name."""
    _, job, *rest = picture.ref.split("/")
    return f"{job}/{'-'.join(rest)}"


def _table(ws: Workspace, chosen: Sequence[Picture]) -> str:
    memory = io.StringIO()
    writer = csv.DictWriter(memory, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    records = _records(ws, chosen)
    for picture in chosen:
        settings = vars(records[picture.ref].settings) if picture.ref in records else {}
        said = {"rating": picture.marks.rating or "", "favourite": picture.marks.favourite, "bad": picture.marks.bad}
        writer.writerow({**settings, **{name: getattr(picture, name) for name in _OWN}, "file": _name(picture), **said})
    return memory.getvalue()


def _records(ws: Workspace, chosen: Sequence[Picture]) -> dict[str, GeneratedImage]:
    folders = dict.fromkeys(picture.ref.rpartition("/")[0] for picture in chosen)
    return {f"{folder}/{image.file}": image for folder in folders for image in read_images(ws.root / folder)}
