"""Tables of pictures and captions: CSV, JSONL, JSON or Parquet, with file names or with the pictures inside."""

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from posixpath import splitext
from typing import Any

from sdstudio.datasets.sources.offer import TreeFile
from sdstudio.schema import UserError
from sdstudio.words import first_line

SUFFIXES = (".csv", ".jsonl", ".json", ".parquet")
PICTURE_COLUMNS = ("file_name", "image", "filename", "image_path", "image_file", "path", "file", "img")
CAPTION_COLUMNS = ("text", "caption", "prompt", "description", "tags")
_ROWS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: the file name of a picture, or the picture's own bytes in `data`. `place` is 'Line 3' or 'Row 3'."""

    place: str
    name: str
    caption: str
    data: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose columns were found. `embeds` says whether the pictures lie in it; `count` is 0 where unknown.

    `captions` is the name of the column of captions, empty where there is none.
    """

    embeds: bool
    captions: str
    count: int
    rows: Callable[[list[str]], Iterator[Row]]
    """Reads the rows; a sentence on each row that cannot be used is appended to the list."""


def lack_of_captions(name: str, table: Table) -> list[str]:
    """A sentence for the person when the table has pictures only."""
    return [] if table.captions else [f"{name} has no column of captions (such as {', '.join(CAPTION_COLUMNS)})."]


def is_table(file: TreeFile) -> bool:
    return file.path.lower().endswith(SUFFIXES)


def open_table(file: TreeFile, picture_column: str = "", caption_column: str = "") -> Table:
    """Find the columns of `file` (empty names: the usual ones); a UserError when it is not a table of pictures."""
    readers = {".csv": _open_csv, ".jsonl": _open_jsonl, ".json": _open_json, ".parquet": _open_parquet}
    return readers[splitext(file.path)[1].lower()](file, picture_column, caption_column)


# ---------------------------------------------------------------- columns


def find_columns(columns: Sequence[str], picture_column: str = "", caption_column: str = "") -> tuple[str, str]:
    """(column of the pictures, column of the captions or "") among `columns`; a UserError that lists them otherwise."""
    picture = _find(columns, picture_column, PICTURE_COLUMNS)
    caption = _find(columns, caption_column, CAPTION_COLUMNS)
    if not picture or (caption_column and not caption):
        wanted = picture_column or "file_name" if not picture else caption_column
        raise UserError(
            f"It has no column {wanted!r} among its columns {', '.join(columns) or '(none)'}; say which columns hold "
            "the pictures and the captions."
        )
    return picture, caption


def _find(columns: Sequence[str], wanted: str, usual: Sequence[str]) -> str:
    if wanted:
        return wanted if wanted in columns else ""
    by_name = {column.casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in usual if name in by_name), "")


def caption_of(value: Any) -> str:
    """A caption cell as text; of a list of captions the first. A ValueError when it is neither."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"its caption is {value!r}, not a text")
    return value


def picture_of(value: Any) -> tuple[str, bytes | None]:
    """(file name, bytes or None) of a picture cell: a path, bytes, or an Image of `datasets`."""
    if isinstance(value, dict) and set(value) >= {"bytes", "path"}:
        name, data = value["path"] or "", value["bytes"]
    elif isinstance(value, bytes):
        name, data = "", value
    else:
        name, data = value, None
    if not isinstance(name, str) or not (name or data):
        raise ValueError("it names no picture")
    return name, data


def _row(place: str, record: dict[str, Any], picture: str, caption: str, problems: list[str]) -> Row | None:
    try:
        name, data = picture_of(record.get(picture))
        return Row(place=place, name=name, caption=caption_of(record.get(caption)), data=data)
    except ValueError as error:
        problems.append(f"{place} cannot be used: {error}.")
        return None


# ---------------------------------------------------------------- text tables


def _open_csv(file: TreeFile, picture_column: str, caption_column: str) -> Table:
    text = file.text()
    columns = csv.DictReader(io.StringIO(text, newline="")).fieldnames or ()
    picture, caption = find_columns(columns, picture_column, caption_column)

    def rows(problems: list[str]) -> Iterator[Row]:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        try:
            for record in reader:
                row = _row(f"Line {reader.line_num}", record, picture, caption, problems)
                if row:
                    yield row
        except csv.Error as error:
            problems.append(f"Line {reader.line_num} is not valid CSV ({error}); the lines after it were not read.")

    return Table(embeds=False, captions=caption, count=0, rows=rows)


def _open_jsonl(file: TreeFile, picture_column: str, caption_column: str) -> Table:
    lines = enumerate(file.text().split("\n"), start=1)
    records = [(f"Line {number}", _parsed(line)) for number, line in lines if line.strip()]
    return _table_of(records, picture_column, caption_column)


def _open_json(file: TreeFile, picture_column: str, caption_column: str) -> Table:
    """A list of objects; or kohya's metadata, an object of them whose keys are the pictures."""
    content = _parsed(file.text())
    if isinstance(content, dict):
        keyed = content.items()
        content = [{"file_name": name, **value} if isinstance(value, dict) else value for name, value in keyed]
    if not isinstance(content, list):
        raise UserError("It is not a JSON list of pictures and captions.")
    return _table_of(
        [(f"Entry {number}", row) for number, row in enumerate(content, 1)], picture_column, caption_column
    )


def _table_of(records: Sequence[tuple[str, Any]], picture_column: str, caption_column: str) -> Table:
    columns = dict.fromkeys(key for _, record in records if isinstance(record, dict) for key in record)
    picture, caption = find_columns(list(columns), picture_column, caption_column)

    def rows(problems: list[str]) -> Iterator[Row]:
        for place, record in records:
            if not isinstance(record, dict):
                problems.append(f"{place} is not a JSON object.")
                continue
            row = _row(place, record, picture, caption, problems)
            if row:
                yield row

    return Table(embeds=False, captions=caption, count=len(records), rows=rows)


def _parsed(text: str) -> Any:
    """The JSON value, or None when it is none."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None


# ---------------------------------------------------------------- Parquet


def _open_parquet(file: TreeFile, picture_column: str, caption_column: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _seekable(file) as source:
            parquet = pq.ParquetFile(source)
            schema, count = parquet.schema_arrow, parquet.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"It is not a Parquet file, or it is damaged ({first_line(error)}).") from error
    picture, caption = find_columns(schema.names, picture_column, caption_column)
    kind = schema.field(picture).type
    embeds = pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    def rows(problems: list[str]) -> Iterator[Row]:
        wanted = [column for column in (picture, caption) if column]
        number = 0
        try:
            with _seekable(file) as source:
                parquet = pq.ParquetFile(source, pre_buffer=False)
                for batch in parquet.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted, use_threads=False):
                    for record in batch.to_pylist():
                        number += 1
                        row = _row(f"Row {number}", record, picture, caption, problems)
                        if row:
                            yield row
        except (pa.ArrowException, OSError, ValueError) as error:
            problems.append(f"It is damaged after row {number} ({first_line(error)}); the rest was not read.")

    return Table(embeds=embeds, captions=caption, count=count, rows=rows)


@contextmanager
def _seekable(file: TreeFile) -> Iterator[Any]:
    """Something that a Parquet reader can jump about in: a member of a zip file is unpacked to a temporary one."""
    if file.local:
        yield file.local
        return
    with tempfile.TemporaryFile() as unpacked:
        with file.open() as member:
            shutil.copyfileobj(member, unpacked)
        unpacked.seek(0)
        yield unpacked
