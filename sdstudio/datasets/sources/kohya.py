"""A dataset config of kohya's trainer (TOML), which names folders of pictures and says how they are captioned.

https://github.com/kohya-ss/sd-scripts/blob/main/docs/config_README-en.md
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.datasets.sidecars import first_line
from sdstudio.datasets.sources.offer import Candidate, Offer, Refused, Source, TreeFile, natural
from sdstudio.schema import ImportConfig, UserError
from sdstudio.words import count
from sdstudio.workspace import typed_path

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
TEXTS = {
    "caption_extension": ".caption",
    "caption_separator": ",",
    "caption_prefix": "",
    "caption_suffix": "",
    "class_tokens": "",
    "metadata_file": "",
}
"""The settings that are read, with kohya's own defaults."""


@dataclass(frozen=True, kw_only=True)
class Subset:
    """A folder of the config, with the settings of its dataset and the general ones beneath its own."""

    folder: Path
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name in TEXTS:
            if not isinstance(self.text(name), str):
                raise UserError(f"{name} of {self.folder} is {self.text(name)!r} in the config, not a text.")

    def text(self, name: str) -> str:
        value: str = self.settings.get(name, TEXTS[name])
        return value

    def dress(self, caption: str) -> str:
        """`caption` with the words that kohya puts before and after each one; an empty one stays so."""
        if not caption:
            return ""
        return " ".join(part for part in (self.text("caption_prefix"), caption, self.text("caption_suffix")) if part)


def detect(place: str) -> bool:
    path = typed_path(place)
    return path.is_file() and path.suffix.lower() == ".toml"


@contextmanager
def open_config(config: ImportConfig) -> Iterator[Offer]:
    """The pictures of every subset, without those of its subfolders, as kohya reads them.

    A caption is the first line of the file beside the picture, or what the metadata file says, or `class_tokens`.
    """
    path = typed_path(config.folder)
    refused: Refused = []
    notes: list[str] = []
    pictures: list[Candidate] = []
    for subset in read_subsets(path):
        if subset.settings.get("is_reg"):
            notes.append(f"{subset.folder} holds class pictures (is_reg), no part of the set: import it by itself.")
            continue
        taken = list(_pictures(subset, refused))
        pictures += taken
        repeats = subset.settings.get("num_repeats", 1)
        if repeats != 1:
            notes.append(f"{subset.folder}: the {repeats} repeats of its {count(len(taken), 'picture')} are not kept.")
    yield Offer(where=f"The config {path}", pictures=iter(pictures), total=len(pictures), refused=refused, notes=notes)


def read_subsets(path: Path) -> list[Subset]:
    """The subsets of a config; folders are absolute, or relative to it. A UserError when it is none."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        found = [
            {**content.get("general", {}), **_without(dataset, "subsets"), **subset}
            for dataset in content["datasets"]
            for subset in dataset["subsets"]
        ]
        folders = [str(settings["image_dir"]) for settings in found]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"The config {path} cannot be read ({error}).") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not a dataset config of kohya's trainer: it needs [[datasets]] with [[datasets.subsets]] that "
            "name an image_dir."
        ) from error
    return [
        Subset(folder=path.parent / folder, settings=settings) for folder, settings in zip(folders, found, strict=True)
    ]


def _pictures(subset: Subset, refused: Refused) -> Iterator[Candidate]:
    if not subset.folder.is_dir():
        refused.append((str(subset.folder), "There is no such folder; say in the config where it is now."))
        return
    files = sorted(subset.folder.iterdir(), key=lambda file: natural(file.name))
    described = _metadata(subset)
    for file in files:
        if file.suffix.lower() not in PICTURES or not file.is_file():
            continue
        name = f"{subset.folder.name}/{file.name}"
        try:
            caption = described.get(file.stem) or _beside(file, subset) or subset.text("class_tokens")
        except UserError as error:
            refused.append((name, f"Its caption file is left out: {error}"))
            caption = ""
        yield Candidate(name=name, caption=subset.dress(caption), read=_tree_file(file).read)


def _beside(file: Path, subset: Subset) -> str:
    sidecar = file.with_suffix(subset.text("caption_extension"))
    return first_line(_tree_file(sidecar)) if sidecar.is_file() else ""


def _metadata(subset: Subset) -> dict[str, str]:
    """Captions by file stem from the subset's metadata file: the caption, its tags, or both."""
    name = subset.text("metadata_file")
    if not name:
        return {}
    path = subset.folder.parent / name
    try:
        rows = json.loads(path.read_bytes())
        return {Path(key.replace("\\", "/")).stem: _words(row, subset) for key, row in rows.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"The metadata file {path} cannot be read ({error}); check its path in the config.") from error


def _words(row: Mapping[str, Any], subset: Subset) -> str:
    separator = subset.text("caption_separator")
    return separator.join(str(row[key]) for key in ("caption", "tags") if row.get(key))


def _without(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}


def _tree_file(path: Path) -> TreeFile:
    return TreeFile.of(path, path.name, path.stat().st_size)


RECORD = Source(name="kohya", label="Dataset config of kohya's trainer (TOML)", detect=detect, open=open_config)
