"""What people say of a picture: a rating, a favourite, what is wrong with it, and whether it is deleted.

Marks are lines of `images/marks.jsonl` that are only ever added; of two on one thing the later counts.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from sdstudio.schema import UserError
from sdstudio.workspace import Workspace, append_json, read_json_lines, safe_join

MARKS_FILE = "marks.jsonl"
HIGHEST = 5
Kind = Literal["rating", "favourite", "bad", "deleted", "restored"]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What holds of one picture; `rating` 0 is none, `bad` the part that went wrong."""

    rating: int = 0
    favourite: bool = False
    bad: str = ""
    deleted: bool = False


NO_MARKS = Marks()
_read: dict[Path, tuple[tuple[int, int], dict[str, Marks]]] = {}


def reference(ws: Workspace, file: Path) -> str:
    """The name of a picture, the same in a copied workspace: its path relative to the workspace."""
    return file.resolve().relative_to(ws.root.resolve()).as_posix()


def picture_path(ws: Workspace, picture: str) -> Path:
    """Where a picture lies; a UserError for what is no picture's name."""
    area = Path(picture).parts[:1]
    if area not in {("images",), ("runs",), ("evaluations",)} or not picture.endswith(".png"):
        raise UserError(f"{picture!r} is no picture of this workspace.")
    return safe_join(ws.root / area[0], *Path(picture).parts[1:])


def mark(ws: Workspace, picture: str, kind: Kind, value: Any = True, who: str = "") -> None:
    """Add a mark to the picture of this name (see `reference`).

    `value` is 0 to 5 for a rating, a truth for a favourite, and for 'bad' the part that went wrong, empty to take it
    back. 'deleted' moves the file into the trash, 'restored' brings it back. Raises UserError for another value, a
    picture that is not there, and the deletion of one that an evaluation measured.
    """
    value = _checked(kind, value)
    file, trash = picture_path(ws, picture), trash_path(ws, picture)
    if kind == "deleted":
        _delete(picture, file, trash)
    elif kind == "restored":
        _restore(picture, file, trash)
    elif not file.is_file():
        raise UserError(f"The picture {picture} is not there any more.")
    said = {"picture": picture, "kind": kind, "value": value, "who": who, "time": round(time.time(), 3)}
    append_json(ws.images / MARKS_FILE, said)


def trash_path(ws: Workspace, picture: str) -> Path:
    """Where the picture lies while it is deleted."""
    return safe_join(ws.deleted_pictures, picture)


def deleted_files(ws: Workspace, folder: Path) -> set[str]:
    """The names of the pictures of this folder that somebody deleted, whether or not they can still come back."""
    place = reference(ws, folder)
    return {
        Path(picture).name
        for picture, said in read_marks(ws).items()
        if said.deleted and picture.rpartition("/")[0] == place
    }


def read_marks(ws: Workspace) -> Mapping[str, Marks]:
    """The marks of every picture that has some; read anew only when there are new ones."""
    file = ws.images / MARKS_FILE
    try:
        status = file.stat()
    except FileNotFoundError:
        return {}
    stamp = (status.st_mtime_ns, status.st_size)
    known = _read.get(file)
    if known is None or known[0] != stamp:
        known = _read[file] = (stamp, _collected(file))
    return known[1]


def _collected(file: Path) -> dict[str, Marks]:
    marks: dict[str, Marks] = {}
    for said in read_json_lines(file):
        try:
            picture, kind, value = said["picture"], said["kind"], said["value"]
            changed = {"deleted": kind == "deleted"} if kind in ("deleted", "restored") else {kind: value}
            marks[picture] = replace(marks.get(picture, NO_MARKS), **changed)
        except (KeyError, TypeError):
            continue  # written by another version
    return marks


def _checked(kind: str, value: Any) -> Any:
    if kind not in get_args(Kind):
        raise UserError(f"There is no mark {kind!r}: choose one of {', '.join(get_args(Kind))}.")
    if kind == "rating" and (type(value) is not int or not 0 <= value <= HIGHEST):
        raise UserError(f"A rating is a whole number from 0 (none) to {HIGHEST}, not {value!r}.")
    if kind == "bad":
        if not isinstance(value, str) or len(value) > 60:
            raise UserError("Name the part that went wrong in a word or two, such as 'eyes'.")
        return " ".join(value.split())
    return value if kind == "rating" else bool(value)


def _delete(picture: str, file: Path, trash: Path) -> None:
    if picture.startswith("evaluations/"):
        raise UserError("An evaluation's numbers stand on this picture: delete the evaluation instead (Jobs).")
    _move(file, trash, f"The picture {picture} is not there any more.")


def _restore(picture: str, file: Path, trash: Path) -> None:
    if not file.parent.is_dir():
        raise UserError(f"The job that {picture} belongs to is in the trash: restore it first (Jobs).")
    _move(trash, file, f"The picture {picture} is not in the trash any more.")


def _move(source: Path, target: Path, missing: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except FileNotFoundError as error:
        raise UserError(missing) from error
    except OSError as error:
        raise UserError(f"{source.name} cannot be moved: {error.strerror}. It stays where it is.") from error
