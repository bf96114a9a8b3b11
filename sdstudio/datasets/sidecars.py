"""The captions that lie beside pictures: same-stem text files, and ImageFolder's metadata.jsonl or metadata.csv."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdstudio.schema import UserError

SIDECARS = (".txt", ".caption")
METADATA = ("metadata.jsonl", "metadata.csv")


@dataclass
class Captions:
    """Captions by the path of their picture; `problems` are (file, reason) of those that could not be used."""

    texts: dict[Path, str] = field(default_factory=dict)
    problems: list[tuple[Path, str]] = field(default_factory=list)


def read_captions(pictures: Sequence[Path], texts: Sequence[Path]) -> Captions:
    """Match `texts` (metadata and sidecar files) with `pictures`.

    A sidecar wins over metadata, `.txt` over `.caption`. Several lines in a sidecar are one caption.
    """
    captions = Captions()
    known = set(pictures)
    by_stem = defaultdict(list)
    for picture in pictures:
        by_stem[picture.with_suffix("")].append(picture)
    for path in sorted(texts, key=_precedence):
        try:
            if is_metadata(path):
                _take_metadata(captions, path, known)
            elif path.with_suffix("") in by_stem:
                captions.texts.update(dict.fromkeys(by_stem[path.with_suffix("")], _text(path)))
            else:
                raise UserError("There is no picture of this name for the caption.")
        except UserError as error:
            captions.problems.append((path, str(error)))
    return captions


def is_metadata(path: Path) -> bool:
    return path.name in METADATA


def is_caption_file(path: Path) -> bool:
    return is_metadata(path) or path.suffix.lower() in SIDECARS


def _precedence(path: Path) -> int:
    """The later overwrites the earlier."""
    return 0 if is_metadata(path) else 2 - SIDECARS.index(path.suffix.lower())


def _take_metadata(captions: Captions, path: Path, known: set[Path]) -> None:
    """`file_name`, `text` rows; file names are relative to the metadata file, as in ImageFolder."""
    read = _jsonl_rows if path.suffix == ".jsonl" else _csv_rows
    for number, name, text in read(path):
        if path.parent / name in known:
            captions.texts[path.parent / name] = text
        else:
            captions.problems.append((path, f"Line {number} names {name!r}, which is not there."))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError("It is not UTF-8 text; save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"It cannot be read: {error.strerror}.") from error


def _jsonl_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"Line {number} is not valid JSON ({error.msg}).") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("file_name", "text")):
            raise UserError(f"Line {number} needs the texts 'file_name' and 'text'.")
        yield number, row["file_name"], row["text"]


def _csv_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    if not {"file_name", "text"} <= set(reader.fieldnames or ()):
        raise UserError("It needs the columns 'file_name' and 'text' in its first line.")
    try:
        for row in reader:
            yield reader.line_num, row["file_name"] or "", row["text"] or ""
    except csv.Error as error:
        raise UserError(f"Line {reader.line_num} is not valid CSV ({error}).") from error
