"""Take a dataset out: the pictures, and their captions in a form that other tools read."""

import csv
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sdstudio.datasets.catalog import open_dataset
from sdstudio.datasets.parquet import Exported, plan_shards, write_shard
from sdstudio.datasets.store import DatasetStore
from sdstudio.schema import CaptionedImage, UserError
from sdstudio.workspace import Workspace, safe_join, typed_path

Rows = Sequence[Exported]
"""Sorted by name."""
Progress = Callable[[int, int], None]
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def export_dataset(
    ws: Workspace,
    name: str,
    target: str | Path,
    format: str,
    progress: Progress | None = None,
) -> int:
    """Write pictures and captions into the new or empty folder `target`, whole or not at all; returns how many.

    `format` is "csv" (`metadata.csv`: file_name,text), "txt" (a text file beside each picture), "imagefolder"
    (`metadata.jsonl`, as Hugging Face datasets reads it) or "parquet" (the pictures inside, as `datasets` writes them).
    A target that ends in `.zip` becomes a zip file of the same. Pictures that are excluded from training stay here.
    A picture that was stored anew has the stored type's extension, and where two would share a name (or a sidecar) one
    gets the beginning of its id added.
    `progress` hears (files written, files in all). The same dataset gives the same bytes.
    """
    if format not in FORMATS:
        raise UserError(f"There is no export format {format!r}; choose one of {', '.join(FORMATS)}.")
    store = open_dataset(ws, name)
    rows = exported(store, store.trained_images())
    target = typed_path(str(target))
    zipped = target.suffix.lower() == ".zip"
    _check_free(target, zipped)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            fresh = Path(temporary) / target.stem
            FORMATS[format](fresh, rows, progress or (lambda done, total: None))
            if zipped:
                fresh = _zip(fresh, Path(temporary) / target.name)
            elif target.exists():
                target.rmdir()
            fresh.rename(target)
    except OSError as error:
        raise UserError(f"The export to {target} failed ({error.strerror}); nothing was written there.") from error
    return len(rows)


def exported(store: DatasetStore, images: Sequence[CaptionedImage]) -> list[Exported]:
    """The pictures under the names they have outside, sorted; a UserError when there are none."""
    if not images:
        raise UserError(f"The dataset {store.name!r} has no pictures to export; import some first.")
    files = store.image_paths()
    lost = next((image for image in images if not files[image.id].is_file()), None)
    if lost:
        raise UserError(f"The export failed: {lost.file_name} is missing from {store.folder}; import it again.")
    named = export_names(images, {image.id: files[image.id].suffix for image in images})
    return [
        Exported(name=name, caption=image.caption, path=files[image.id], size=files[image.id].stat().st_size)
        for name, image in named.items()
    ]


def export_names(images: Iterable[CaptionedImage], extensions: Mapping[str, str]) -> dict[str, CaptionedImage]:
    """A file name for each picture, sorted; no two share a stem, also where upper and lower case are one.

    `extensions` holds the extension ('.png') of the stored file of each id.
    """
    names: dict[str, CaptionedImage] = {}
    taken: set[str] = set()
    for image in sorted(images, key=lambda image: (image.file_name, image.id)):
        wanted = PurePosixPath(image.file_name)
        stems = (wanted.stem, f"{wanted.stem}-{image.id[:8]}", image.id)
        stem = next(stem for stem in stems if str(wanted.with_name(stem)).casefold() not in taken)
        taken.add(str(wanted.with_name(stem)).casefold())
        names[str(wanted.with_name(stem + extensions[image.id]))] = image
    return dict(sorted(names.items()))


def csv_text(rows: Rows) -> str:
    """`metadata.csv`: file_name,text."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(
        [("file_name", "text"), *((row.name, row.caption) for row in rows)]
    )
    return buffer.getvalue()


def jsonl_text(rows: Rows) -> str:
    """`metadata.jsonl`, as Hugging Face's ImageFolder reads it."""
    return "".join(json.dumps({"file_name": row.name, "text": row.caption}, ensure_ascii=False) + "\n" for row in rows)


def _check_free(target: Path, zipped: bool) -> None:
    if zipped and target.exists():
        raise UserError(f"There already is a {target}; give another name.")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"The folder {target} is not empty; give a new or an empty one.")


def _copy(folder: Path, rows: Rows, progress: Progress) -> None:
    for done, row in enumerate(rows, start=1):
        path = safe_join(folder, row.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(row.path, path)
        progress(done, len(rows))


def _csv(folder: Path, rows: Rows, progress: Progress) -> None:
    _copy(folder, rows, progress)
    (folder / "metadata.csv").write_text(csv_text(rows), encoding="utf-8", newline="")


def _imagefolder(folder: Path, rows: Rows, progress: Progress) -> None:
    _copy(folder, rows, progress)
    (folder / "metadata.jsonl").write_text(jsonl_text(rows), encoding="utf-8", newline="")


def _txt(folder: Path, rows: Rows, progress: Progress) -> None:
    _copy(folder, rows, progress)
    for row in rows:
        (folder / row.name).with_suffix(".txt").write_text(row.caption + "\n", encoding="utf-8", newline="")


def _parquet(folder: Path, rows: Rows, progress: Progress) -> None:
    (folder / "data").mkdir(parents=True)
    written = 0
    for name, shard in plan_shards(rows).items():
        write_shard(folder / "data" / name, shard)
        written += len(shard)
        progress(written, len(rows))


def _zip(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                info = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _ZIP_TIME)
                info.external_attr = 0o644 << 16
                with file.open("rb") as source, archive.open(info, "w", force_zip64=True) as member:
                    shutil.copyfileobj(source, member)
    return path


FORMATS: dict[str, Callable[[Path, Rows, Progress], None]] = {
    "csv": _csv,
    "txt": _txt,
    "imagefolder": _imagefolder,
    "parquet": _parquet,
}
