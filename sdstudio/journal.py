"""Files of JSON lines that only grow, written by any number of processes."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

Line = dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """The whole lines of a file, in their order, and how many a crash has torn."""

    lines: tuple[Line, ...] = ()
    torn: int = 0


def read(file: Path) -> Journal:
    """What the file holds; nothing where it is not there. The end of a line that is still being written is no line."""
    try:
        pieces = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Journal()
    *written, rest = pieces
    lines = [line for piece in written if piece and (line := _parsed(piece)) is not None]
    return Journal(tuple(lines), sum(bool(piece) for piece in written) - len(lines) + bool(rest))


def extend(file: Path, decide: Callable[[Journal], list[Line]]) -> None:
    """Add the lines that `decide` makes of what is there; they are on disk when this returns.

    Nobody else writes in between. A line that a crash has torn stays as it is, and the next one begins after it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        lines = decide(read(file))
        if not lines:
            return
        text = "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)
        with file.open("ab+") as handle:
            if handle.seek(0, io.SEEK_END):
                handle.seek(-1, io.SEEK_END)
                text = text if handle.read(1) == b"\n" else "\n" + text
            handle.write(text.encode())
            handle.flush()
            os.fsync(handle.fileno())


def _parsed(piece: bytes) -> Line | None:
    try:
        line = json.loads(piece)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
