"""How pictures and captions lie in a tree of files, be it a folder or a zip file."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import PurePosixPath
from posixpath import dirname

from sdstudio.datasets.sidecars import KohyaFolder, is_sidecar, kohya_folders, read_captions
from sdstudio.datasets.sources.offer import Candidate, Offer, Refused, TreeFile, natural
from sdstudio.datasets.tables import Table, is_table, lack_of_captions, open_table
from sdstudio.schema import ImportConfig, UserError


def offer_tree(where: str, files: Sequence[TreeFile], refused: Refused, config: ImportConfig) -> Offer:
    """The pictures among `files` in natural order, then those inside Parquet tables, each with its caption.

    Captions come from same-stem `.txt` and `.caption` files, from tables of file names (Hugging Face's ImageFolder
    among them), and, where every folder is named as kohya's trainer wants it (`10_token class`), from that name.
    """
    files = sorted(files, key=lambda file: natural(file.path))
    pictures: list[TreeFile] = []
    sidecars: list[TreeFile] = []
    listed: list[TreeFile] = []
    for file in files:
        (sidecars if is_sidecar(file) else listed if is_table(file) else pictures).append(file)
    tables, problems = _open_tables(listed, config)
    captions = read_captions(
        pictures,
        sidecars,
        {path: table for path, table in tables.items() if not table.embeds},
        config.caption_lines,
    )
    kohya = kohya_folders(pictures) if config.kohya_folders else {}
    for file in pictures if kohya else ():
        captions.texts.setdefault(file.path, kohya[dirname(file.path)].words)
    whole = {path: table for path, table in tables.items() if table.embeds}
    refused = [*refused, *problems, *captions.problems]
    return Offer(
        where=where,
        pictures=_pictures(pictures, captions.texts, whole, refused),
        total=len(pictures) + sum(table.count for table in whole.values()),
        refused=refused,
        notes=[
            *(note for path, table in tables.items() for note in lack_of_captions(path, table)),
            *(_kohya_note(path, folder) for path, folder in sorted(kohya.items())),
        ],
    )


def _open_tables(files: Sequence[TreeFile], config: ImportConfig) -> tuple[dict[str, Table], Refused]:
    tables: dict[str, Table] = {}
    problems: Refused = []
    for file in files:
        try:
            tables[file.path] = open_table(file, config.picture_column, config.caption_column)
        except UserError as error:
            problems.append((file.path, str(error)))
    return tables, problems


def _pictures(
    pictures: Sequence[TreeFile],
    texts: dict[str, str],
    whole: dict[str, Table],
    refused: Refused,
) -> Iterator[Candidate]:
    for file in pictures:
        yield Candidate(name=file.path, caption=texts.get(file.path, ""), read=file.read)
    for path, table in whole.items():
        yield from embedded(path, table, refused)


def embedded(table_name: str, table: Table, refused: Refused) -> Iterator[Candidate]:
    """The pictures that lie inside a table, one after the other."""
    problems: list[str] = []
    for number, row in enumerate(table.rows(problems)):
        name = row.name or f"{PurePosixPath(table_name).stem}-{number:06}"
        if row.data is None:
            problems.append(f"{row.place} names {row.name!r}, but does not hold the picture.")
        else:
            yield Candidate(name=name, caption=row.caption, read=partial(bytes, row.data))
    refused += [(table_name, problem) for problem in problems]


def _kohya_note(path: str, folder: KohyaFolder) -> str:
    return (
        f"{path} is named as kohya's trainer wants it: its pictures without a caption get {folder.words!r}; "
        f"its {folder.repeats} repeats stay in the file names only."
    )
