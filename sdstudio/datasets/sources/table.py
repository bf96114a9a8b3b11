"""One table (CSV, JSONL, JSON or Parquet) that lists pictures by file name, or holds them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sdstudio.datasets.intake import RefusedPicture
from sdstudio.datasets.sources.layout import embedded
from sdstudio.datasets.sources.offer import Candidate, Offer, Refused, Source, TreeFile
from sdstudio.datasets.tables import SUFFIXES, Table, lack_of_captions, open_table
from sdstudio.schema import ImportConfig, UserError
from sdstudio.workspace import typed_path


def detect(place: str) -> bool:
    path = typed_path(place)
    return path.is_file() and path.suffix.lower() in SUFFIXES


@contextmanager
def open_file(config: ImportConfig) -> Iterator[Offer]:
    path = typed_path(config.folder)
    if not detect(config.folder):
        raise UserError(f"There is no table {config.folder!r}; give a .csv, .jsonl, .json or .parquet file.")
    try:
        table = open_table(
            TreeFile.of(path, path.name, path.stat().st_size),
            config.picture_column,
            config.caption_column,
        )
    except UserError as error:
        raise UserError(f"The table {path} cannot be used: {error}") from error
    refused: Refused = []
    pictures = embedded(path.name, table, refused) if table.embeds else _named(path, table, refused)
    notes = lack_of_captions(path.name, table)
    yield Offer(where=f"The table {path}", pictures=pictures, total=table.count, refused=refused, notes=notes)


def _named(path: Path, table: Table, refused: Refused) -> Iterator[Candidate]:
    """File names are absolute, or relative to the table."""
    problems: list[str] = []
    for row in table.rows(problems):
        picture = path.parent / row.name
        name = picture.name if Path(row.name).is_absolute() else row.name
        yield Candidate(name=name, caption=row.caption, read=partial(_read, picture))
    refused += [(path.name, problem) for problem in problems]


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise RefusedPicture("There is no such file beside the table.")
    return TreeFile.of(path, path.name, path.stat().st_size).read()


RECORD = Source(name="table", label="Table (CSV, JSONL, JSON or Parquet)", detect=detect, open=open_file)
