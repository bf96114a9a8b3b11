"""Pictures found again by what they were asked for, who drew them and what people said of them.

A folder's list is read once and again when the folder changes; a question runs over what is in memory.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sdstudio.collection.marks import NO_MARKS, Marks, picture_path, read_marks, trash_path
from sdstudio.pictures.image_folder import RECORDS_FILE, read_images
from sdstudio.schema import GeneratedImage, UserError
from sdstudio.workspace import Workspace, read_json_lines

Source = Literal["batch", "sample", "evaluation"]
FILE_CLOCK = 2_000_000_000
"""Nanoseconds in which two changes of a folder may carry one time: two seconds on FAT, some milliseconds elsewhere."""
_PLACES: tuple[tuple[Source, str, str], ...] = (
    ("batch", "images", "*"),
    ("sample", "runs", "*/samples/step-*"),
    ("evaluation", "evaluations", "*/pictures/*"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture. `ref` is its path in the workspace, `run` the run whose weights drew it, '' for a base model."""

    ref: str
    source: Source
    prompt: str
    seed: int
    model: str
    run: str
    width: int
    height: int
    flagged: bool
    marks: Marks = NO_MARKS


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which pictures: those that hold for every field that is set.

    `text` are words that the prompt holds, in any order. `rating` is the least one. `bad` is a part, '*' for any.
    `deleted` asks for those in the trash instead of those that are there.
    """

    text: str = ""
    source: Source | Literal[""] = ""
    run: str = ""
    rating: int = 0
    favourite: bool = False
    bad: str = ""
    deleted: bool = False


EVERYTHING = Query()


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some of the pictures that were asked for, and how many there are in all."""

    pictures: tuple[Picture, ...]
    total: int


@dataclass(frozen=True)
class _Listed:
    """What a folder lists, oldest first, and the names of the files that are in it.

    `settled` is false while it was changed so lately that the clock of the files could hide another change.
    """

    settled: bool
    stamp: tuple[int, int, int]
    pictures: tuple[Picture, ...]
    names: frozenset[str]


_listed: dict[Path, _Listed] = {}


def pictures(ws: Workspace, query: Query = EVERYTHING, start: int = 0, count: int = 60) -> Page:
    """The pictures from number `start` on, at most `count` of them, the newest job first, its last picture first."""
    found = list(_matching(ws, query))
    page = tuple(replace(picture, marks=said) for picture, said in found[start : start + count])
    return Page(pictures=page, total=len(found))


def record(ws: Workspace, picture: str) -> GeneratedImage:
    """All settings of the picture of this name; a UserError when it is not there."""
    file = picture_path(ws, picture)
    image = next((image for image in read_images(file.parent) if image.file == file.name), None)
    if image is None:
        raise UserError(f"The picture {picture} is not there any more.")
    return image


def _matching(ws: Workspace, query: Query) -> Iterator[tuple[Picture, Marks]]:
    marks = read_marks(ws)
    words = query.text.casefold().split()
    for listed in _folders(ws, query):
        for picture in reversed(listed.pictures):
            said = marks.get(picture.ref, NO_MARKS)
            there = picture.ref.rpartition("/")[2] in listed.names
            if query.deleted:
                if there or not said.deleted or not trash_path(ws, picture.ref).is_file():
                    continue
            elif not there:
                continue
            if (query.run and picture.run != query.run) or not _marked(said, query):
                continue
            if words and not all(word in picture.prompt.casefold() for word in words):
                continue
            yield picture, said


def _marked(said: Marks, query: Query) -> bool:
    return (
        said.rating >= query.rating
        and (said.favourite or not query.favourite)
        and (not query.bad or (bool(said.bad) if query.bad == "*" else said.bad == query.bad))
    )


def _folders(ws: Workspace, query: Query) -> Iterator[_Listed]:
    """The folders that hold pictures, the newest job first."""
    found: list[tuple[str, str, Path, Source]] = []
    for source, area, pattern in _PLACES:
        if query.source in ("", source):
            parent = ws.root / area
            found += [(path.relative_to(parent).parts[0], path.name, path, source) for path in parent.glob(pattern)]
    for _, _, folder, source in sorted(found, reverse=True):
        listed = _list(ws, folder, source)
        if listed is not None:
            yield listed


def _list(ws: Workspace, folder: Path, source: Source) -> _Listed | None:
    records = folder / RECORDS_FILE
    try:
        of_folder, of_records = folder.stat(), records.stat()
    except OSError:
        _listed.pop(folder, None)
        return None
    stamp = (of_folder.st_mtime_ns, of_records.st_mtime_ns, of_records.st_size)
    known = _listed.get(folder)
    if known is None or not known.settled or known.stamp != stamp:
        settled = time.time_ns() - max(stamp[:2]) > FILE_CLOCK
        with os.scandir(folder) as entries:
            names = frozenset(entry.name for entry in entries)
        known = _listed[folder] = _Listed(settled, stamp, _read(ws, folder, source), names)
    return known


def _read(ws: Workspace, folder: Path, source: Source) -> tuple[Picture, ...]:
    """Light on purpose: a list of 20,000 pictures is not held against the schema, line by line."""
    place = folder.relative_to(ws.root)
    found: dict[str, Picture] = {}
    for line in read_json_lines(folder / RECORDS_FILE):
        try:
            name = str(line["file"])
            if Path(name).name != name:
                continue
            found[name] = Picture(
                ref=f"{place.as_posix()}/{name}",
                source=source,
                prompt=str(line["prompt"]),
                seed=int(line["seed"]),
                model=str(line["model"].get("label") or line["model"].get("base_model", "")),
                run=place.parts[1] if source == "sample" else _run_of(line["model"]),
                width=int(line["width"]),
                height=int(line["height"]),
                flagged=bool(line.get("flags")),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # a line that is no picture's
    return tuple(found.values())


def _run_of(model: Mapping[str, Any]) -> str:
    """The run in '…/runs/<id>/checkpoints/step-…', or in a run's id given as checkpoint."""
    parts = Path(str(model.get("checkpoint") or "")).parts
    if "runs" in parts[:-1]:
        return parts[parts.index("runs") + 1]
    return parts[0] if len(parts) == 1 else ""
