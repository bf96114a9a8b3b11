"""Pictures that a method asks for beside its dataset: those of another dataset, or of a folder of this machine."""

from contextlib import suppress
from pathlib import Path

from sdstudio.datasets.catalog import dataset_names, open_dataset
from sdstudio.datasets.query import Query
from sdstudio.pictures.image_folder import RECORDS_FILE
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace, read_json_lines

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def pictures_at(ws: Workspace, place: str) -> list[tuple[Path, str]]:
    """(file, caption) of every picture at `place`: the name of a dataset, or a folder with its folders inside.

    In a folder the caption is the .txt file of the picture's name, or the prompt that drew it where the folder is one
    of generated pictures, or else empty. The order is the same each time. Raises UserError when there is no such
    place, or no picture in it.
    """
    if place in dataset_names(ws):
        store = open_dataset(ws, place)
        files = store.image_paths()
        found = [(files[image.id], image.caption) for image in store.trained_images()]
    else:
        folder = _folder(place)
        prompts = _prompts(folder)
        found = [(path, _sidecar(path) or prompts.get(path, "")) for path in _in_folder(folder)]
    if not found:
        raise UserError(f"There is no picture in {place!r}: put PNG, JPEG or WebP pictures there, or leave it empty.")
    return found


def count_at(ws: Workspace, place: str) -> int:
    """How many pictures `pictures_at` would give, captions unread; a UserError when there is no such place."""
    if place in dataset_names(ws):
        return open_dataset(ws, place).count(Query(excluded=False))
    return len(_in_folder(_folder(place)))


def _folder(place: str) -> Path:
    folder = Path(place).expanduser()
    if not (folder.is_absolute() and folder.is_dir()):  # a job runs in a folder of its own
        raise UserError(f"There is no dataset {place!r} and no folder of this whole path: check the name.")
    return folder


def _in_folder(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)


def _sidecar(picture: Path) -> str:
    file = picture.with_suffix(".txt")
    try:
        return " ".join(file.read_text(encoding="utf-8-sig").split()) if file.is_file() else ""
    except UnicodeDecodeError as error:
        raise UserError(f"The caption {file} is not UTF-8 text: save it as UTF-8.") from error


def _prompts(folder: Path) -> dict[Path, str]:
    """The prompt of each picture that a generating job drew into `folder`; a torn line is passed over."""
    found = {}
    for file in folder.rglob(RECORDS_FILE):
        for record in read_json_lines(file):
            with suppress(KeyError, TypeError):
                found[file.parent / record["file"]] = str(record["prompt"])
    return found
