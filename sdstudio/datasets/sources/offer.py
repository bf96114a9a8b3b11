"""What every source hands to the importer: pictures to read one by one, each with its caption."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from pathlib import Path
from typing import IO

from sdstudio.datasets.intake import DAMAGED, MAX_BYTES, TOO_MANY_BYTES, RefusedPicture
from sdstudio.schema import ImportConfig, UserError

_DIGITS = re.compile("([0-9]+)")

Refused = list[tuple[str, str]]
"""(file, reason) of everything that was not taken."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A picture that may come in. `read` gives its bytes, or raises a RefusedPicture with the reason."""

    name: str
    caption: str
    read: Callable[[], bytes]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The pictures of one place, in order. `total` is 0 where it cannot be known beforehand.

    `refused` grows while `pictures` are read; `notes` are sentences on what was made of the place.
    """

    where: str
    pictures: Iterator[Candidate]
    total: int = 0
    refused: Refused = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A kind of place that pictures come from; one file in `sources/` holds one as RECORD.

    `detect(place)` says whether the place that a person named is of this kind; `open(config)` is a context manager
    around an Offer, and raises a UserError when there is nothing to read.
    """

    name: str
    label: str
    detect: Callable[[str], bool]
    open: Callable[[ImportConfig], AbstractContextManager[Offer]]


@dataclass(frozen=True, kw_only=True)
class TreeFile:
    """A file of a folder or of a zip file.

    `path` is relative to its root, with '/' between its parts; `local` is where it lies on this machine.
    """

    path: str
    size: int
    open: Callable[[], IO[bytes]]
    local: str = ""

    @classmethod
    def of(cls, path: str | Path, name: str, size: int) -> "TreeFile":
        """A file on this machine, called `name` here."""
        return cls(path=name, size=size, open=partial(FileIO, path), local=str(path))

    def read(self) -> bytes:
        """All of its bytes; a RefusedPicture when it is too large, damaged or cannot be read."""
        if self.size > MAX_BYTES:
            raise RefusedPicture(TOO_MANY_BYTES)
        try:
            with self.open() as file:
                return file.read()
        except OSError as error:
            raise RefusedPicture(f"It cannot be read: {error.strerror or error}.") from error
        except Exception as error:  # an unpacker may raise anything on hostile bytes
            raise RefusedPicture(DAMAGED) from error

    def text(self) -> str:
        """Its text; a UserError when it cannot be read, or is not UTF-8."""
        try:
            return self.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError("It is not UTF-8 text; save it as UTF-8.") from error


def natural(path: str) -> list[list[str | int]]:
    """A sort key that puts img2 before img10, and a folder's own files together."""
    return [[int(piece) if piece.isdecimal() else piece for piece in _DIGITS.split(part)] for part in path.split("/")]


def is_clutter(name: str) -> bool:
    """Hidden files and folders, what file managers leave behind, and the card of a Hub dataset."""
    return name.startswith((".", "__MACOSX")) or name in CLUTTER


CLUTTER = {"Thumbs.db", "desktop.ini", "README.md"}
