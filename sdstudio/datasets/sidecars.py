"""The captions that lie beside pictures: same-stem text files, tables of file names, and kohya's folder names."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from posixpath import basename, dirname, join, splitext

from sdstudio.datasets.sources.offer import Refused, TreeFile
from sdstudio.datasets.tables import Table
from sdstudio.schema import UserError

SIDECARS = (".txt", ".caption")
_KOHYA = re.compile(r"(\d{1,3})_(.*\S.*)")


@dataclass
class Captions:
    """Captions by the path of their picture; `problems` are (file, reason) of those that could not be used."""

    texts: dict[str, str] = field(default_factory=dict)
    problems: Refused = field(default_factory=list)


def is_sidecar(file: TreeFile) -> bool:
    return file.path.lower().endswith(SIDECARS)


def read_captions(
    pictures: Sequence[TreeFile], sidecars: Sequence[TreeFile], tables: Mapping[str, Table], lines: str
) -> Captions:
    """Match sidecars and tables of file names with `pictures`.

    A sidecar wins over a table, `.txt` over `.caption`. `lines` says what a sidecar of several lines means: 'all' of
    them joined are the caption (ai-toolkit), or the 'first' is (kohya).
    """
    captions = Captions()
    known = {picture.path for picture in pictures}
    by_stem = defaultdict(list)
    for path in known if tables or sidecars else ():
        by_stem[splitext(path)[0]].append(path)
    for path, table in tables.items():
        _take_table(captions, path, table, known, by_stem)
    for file in sorted(sidecars, key=lambda file: -SIDECARS.index(splitext(file.path)[1].lower())):
        try:
            described = by_stem.get(splitext(file.path)[0])
            if not described:
                raise UserError("There is no picture of this name for the caption.")
            captions.texts.update(dict.fromkeys(described, first_line(file) if lines == "first" else file.text()))
        except UserError as error:
            captions.problems.append((file.path, str(error)))
    return captions


def first_line(file: TreeFile) -> str:
    """The first line of a caption file that holds words; a UserError when it is not UTF-8 text."""
    return next((line.strip() for line in file.text().splitlines() if line.strip()), "")


def _take_table(
    captions: Captions,
    path: str,
    table: Table,
    known: set[str],
    by_stem: Mapping[str, list[str]],
) -> None:
    """File names are relative to the table, as in Hugging Face's ImageFolder; kohya's leave the extension out."""
    problems: list[str] = []
    folder = dirname(path)
    for row in table.rows(problems):
        picture = join(folder, row.name)
        if picture not in known:
            picture = str(PurePosixPath(picture))  # such as ./a.jpg
        described = [picture] if picture in known else by_stem.get(picture, [])
        captions.texts.update(dict.fromkeys(described, row.caption))
        if not described:
            problems.append(f"{row.place} names {row.name!r}, which is not there.")
    captions.problems += [(path, problem) for problem in problems]


@dataclass(frozen=True)
class KohyaFolder:
    """`10_asim style`: its pictures are repeated 10 times an epoch, and `words` caption those that have no caption."""

    repeats: int
    words: str


def kohya_folders(pictures: Sequence[TreeFile]) -> dict[str, KohyaFolder]:
    """The folders of `pictures` as kohya's trainer reads their names; empty unless every one has such a name.

    Up to 999 repeats: a folder `2023_holiday` is a year's pictures.
    """
    folders = {}
    for parent in {dirname(picture.path) for picture in pictures}:
        match = _KOHYA.fullmatch(basename(parent))
        if match is None:
            return {}
        folders[parent] = KohyaFolder(int(match[1]), match[2].strip())
    return folders
