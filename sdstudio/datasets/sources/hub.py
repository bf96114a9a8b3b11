"""A dataset on the Hugging Face Hub, read row by row through `datasets`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from sdstudio import hub
from sdstudio.datasets.intake import MAX_BYTES, RefusedPicture
from sdstudio.datasets.sources.offer import Candidate, Offer, Refused, Source
from sdstudio.datasets.tables import caption_of, find_columns, picture_of
from sdstudio.schema import ImportConfig, UserError
from sdstudio.words import first_line
from sdstudio.workspace import typed_path


def detect(place: str) -> bool:
    return hub.is_id(place) and not typed_path(place).exists()


@contextmanager
def open_dataset(config: ImportConfig) -> Iterator[Offer]:
    """Every split, or the one that `config.split` names, streamed: nothing is downloaded twice to disk.

    A private dataset needs a token, from HF_TOKEN or `hf auth login`.
    """
    name = config.folder
    if not hub.is_id(name):
        raise UserError(f"{name!r} is not the name of a dataset on the Hub; give one such as 'owner/name'.")
    hub.check_reachable()
    splits = _load(config)
    refused: Refused = []
    pictures = chain.from_iterable(_rows(split, rows, config, refused) for split, rows in splits.items())
    yield Offer(
        where=f"The Hub dataset {name}",
        pictures=_told(name, pictures),
        total=sum(_count(split, rows) for split, rows in splits.items()),
        refused=refused,
    )


def _load(config: ImportConfig) -> dict[str, Any]:
    import datasets
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    with hub.plainly(f"the dataset {config.folder}"):
        try:
            splits = datasets.load_dataset(config.folder, config.subset or None, streaming=True)
        except DatasetNotFoundError as error:
            raise UserError(
                f"The Hub does not show a dataset {config.folder}: check the name, and give a token if it is private."
            ) from error
        except (DatasetsError, ValueError, RuntimeError, FileNotFoundError) as error:
            raise UserError(f"The Hub dataset {config.folder} cannot be read ({first_line(error)}).") from error
    if not config.split:
        return dict(splits)
    if config.split not in splits:
        raise UserError(f"{config.folder} has no split {config.split!r}; choose one of {', '.join(splits)}.")
    return {config.split: splits[config.split]}


def _told(name: str, pictures: Iterable[Candidate]) -> Iterator[Candidate]:
    """`pictures`, with a connection that breaks on the way told in one sentence."""
    with hub.plainly(f"the dataset {name}"):
        yield from pictures


def _count(split: str, rows: Any) -> int:
    known = (rows.info.splits or {}).get(split)
    return int(known.num_examples or 0) if known else 0


def _rows(split: str, rows: Any, config: ImportConfig, refused: Refused) -> Iterator[Candidate]:
    import datasets

    if rows.features is None:
        rows = rows._resolve_features()
    pictures = [column for column, feature in rows.features.items() if isinstance(feature, datasets.Image)]
    wanted = config.picture_column or next(iter(pictures), "")
    picture, caption = find_columns(list(rows.features), wanted, config.caption_column)
    for number, row in enumerate(rows.decode(False)):
        try:
            name, data = picture_of(row[picture])
            text = caption_of(row.get(caption))
        except ValueError as error:
            refused.append((f"{split}/{number:06}", f"Row {number + 1} cannot be used: {error}."))
            continue
        short = PurePosixPath(name.partition("::")[0]).name or f"{number:06}"
        yield Candidate(name=f"{split}/{short}", caption=text, read=partial(_read, name, data))


def _read(name: str, data: bytes | None) -> bytes:
    """The picture itself, or the file on the Hub that the row names: never one of this machine or another host."""
    if data is not None:
        return data
    if not name.rpartition("::")[2].startswith("hf://"):
        raise RefusedPicture("The row does not hold the picture, and names no file on the Hub.")
    import fsspec

    try:
        with hub.plainly("the picture"), fsspec.open(name, "rb") as file:
            content: bytes = file.read(MAX_BYTES + 1)
        return content
    except FileNotFoundError as error:
        raise RefusedPicture("The row names a file that is not on the Hub.") from error


RECORD = Source(name="hub", label="Hugging Face Hub", detect=detect, open=open_dataset)
