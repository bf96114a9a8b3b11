"""Take a dataset out: the pictures, and their captions in a form that other tools read."""

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from sdstudio.datasets.catalog import open_dataset
from sdstudio.datasets.store import DatasetStore
from sdstudio.schema import CaptionedImage, UserError
from sdstudio.workspace import Workspace, safe_join

Rows = Sequence[tuple[str, str]]
"""(file name relative to the export's folder, caption), sorted by file name."""


def export_dataset(ws: Workspace, name: str, target: str | Path, format: str) -> int:
    """Write pictures and captions into the new or empty folder `target`, whole or not at all; returns how many.

    `format` is "csv" (`metadata.csv`: file_name,text), "txt" (a text file beside each picture) or "imagefolder"
    (`metadata.jsonl`, as Hugging Face datasets reads it). A picture that was stored anew has the stored type's
    extension, and where two would share a name (or a sidecar) one gets the beginning of its id added.
    """
    if format not in FORMATS:
        raise UserError(f"There is no export format {format!r}; choose one of {', '.join(FORMATS)}.")
    store = open_dataset(ws, name)
    images = store.images()
    if not images:
        raise UserError(f"The dataset {name!r} has no pictures to export; import some first.")
    target = Path(target).expanduser().absolute()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"The folder {target} is not empty; give a new or an empty one.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            fresh = Path(temporary) / target.name
            _write(store, images, fresh, FORMATS[format])
            if target.exists():
                target.rmdir()
            fresh.rename(target)
    except OSError as error:
        raise UserError(f"The export to {target} failed ({error.strerror}); nothing was written there.") from error
    return len(images)


def _write(
    store: DatasetStore, images: Sequence[CaptionedImage], folder: Path, write_captions: Callable[[Path, Rows], None]
) -> None:
    named = export_names(store, images)
    for file_name, image in named.items():
        path = safe_join(folder, file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store.image_path(image.id), path)
    write_captions(folder, [(file_name, image.caption) for file_name, image in named.items()])


def export_names(store: DatasetStore, images: Sequence[CaptionedImage]) -> dict[str, CaptionedImage]:
    """A file name for each picture, sorted; no two share a stem, also where upper and lower case are one."""
    names: dict[str, CaptionedImage] = {}
    taken: set[str] = set()
    for image in sorted(images, key=lambda image: (image.file_name, image.id)):
        wanted = PurePosixPath(image.file_name)
        stems = (wanted.stem, f"{wanted.stem}-{image.id[:8]}", image.id)
        stem = next(stem for stem in stems if str(wanted.with_name(stem)).casefold() not in taken)
        taken.add(str(wanted.with_name(stem)).casefold())
        names[str(wanted.with_name(stem + store.image_path(image.id).suffix))] = image
    return dict(sorted(names.items()))


def _write_csv(folder: Path, rows: Rows) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([("file_name", "text"), *rows])
    (folder / "metadata.csv").write_text(buffer.getvalue(), encoding="utf-8", newline="")


def _write_jsonl(folder: Path, rows: Rows) -> None:
    lines = (json.dumps({"file_name": name, "text": text}, ensure_ascii=False) + "\n" for name, text in rows)
    (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8", newline="")


def _write_sidecars(folder: Path, rows: Rows) -> None:
    for name, text in rows:
        (folder / name).with_suffix(".txt").write_text(text + "\n", encoding="utf-8", newline="")


FORMATS: dict[str, Callable[[Path, Rows], None]] = {
    "csv": _write_csv,
    "txt": _write_sidecars,
    "imagefolder": _write_jsonl,
}
