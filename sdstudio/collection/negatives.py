"""Pictures that were marked as bad, as SAM's negative examples take them (see methods/negatives)."""

from pathlib import Path

from sdstudio.collection.finding import Query, pictures
from sdstudio.collection.marks import picture_path
from sdstudio.datasets import create_dataset, dataset_exists, open_dataset
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace


def bad_pictures(ws: Workspace, run: str = "") -> list[tuple[Path, str]]:
    """(file, the part that went wrong) of every picture marked as bad that the run drew; of all runs without one."""
    return [(path, part) for path, _, part in _bad(ws, run)]


def negatives_dataset(ws: Workspace, run: str = "") -> str:
    """The name of a dataset that holds those pictures, each under its prompt and 'negative <part>'.

    It is made when it is missing; pictures that it holds already keep the captions that people gave them there.
    Raises UserError when no picture is marked as bad.
    """
    bad = _bad(ws, run)
    if not bad:
        raise UserError("No picture is marked as bad yet: open one, name the part that went wrong, and come back.")
    name = f"bad-{run or 'pictures'}"[:80]
    if dataset_exists(ws, name):
        store = open_dataset(ws, name)
    else:
        store = create_dataset(ws, name, "Pictures that were marked as bad.")
    for path, prompt, part in bad:
        store.add(path.read_bytes(), path.name, f"{prompt.rstrip(' ,.')}, negative {part}")
    return name


def _bad(ws: Workspace, run: str) -> list[tuple[Path, str, str]]:
    found = pictures(ws, Query(run=run, bad="*"), count=1_000_000).pictures
    return [(picture_path(ws, item.ref), item.prompt, item.marks.bad) for item in found]
