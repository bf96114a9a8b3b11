"""The datasets of a workspace: make one, open one, list them."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.intake import RefusedPicture
from sdstudio.datasets.layout import DATABASE_FILE
from sdstudio.datasets.store import DatasetStore
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace, sync_folder


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """One line of the list: counts of pictures, of those with a caption, of those that a person wrote or approved.

    `error` says why a dataset cannot be opened; its counts are 0 then.
    """

    name: str
    description: str = ""
    images: int = 0
    captioned: int = 0
    modified: int = 0
    error: str = ""


def create_dataset(
    ws: Workspace, name: str, description: str = "", pictures: Iterable[tuple[bytes, str, str]] = ()
) -> DatasetStore:
    """Make a dataset of (picture, file name, caption), whole or not at all.

    A UserError when the name is taken or not usable, or one of the pictures is.
    """
    folder = ws.dataset(name)
    if folder.exists():
        raise UserError(f"There already is a dataset {name!r}; choose another name.")
    try:
        ws.datasets.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ws.datasets, prefix=".new-") as temporary:
            fresh = Path(temporary) / name
            store = DatasetStore(fresh)
            store.create(description)
            new = (NewPicture(data=data, file_name=file, caption=caption) for data, file, caption in pictures)
            for outcome in store.add_many(new):
                if isinstance(outcome, RefusedPicture):
                    raise outcome
            fresh.rename(folder)
    except OSError as error:
        raise UserError(f"The dataset {name!r} cannot be made in {ws.datasets}: {error.strerror}.") from error
    sync_folder(ws.datasets)
    return DatasetStore(folder)


def dataset_exists(ws: Workspace, name: str) -> bool:
    return (ws.dataset(name) / DATABASE_FILE).is_file()


def open_dataset(ws: Workspace, name: str) -> DatasetStore:
    """The dataset, brought up to date; a UserError naming the existing ones when there is none of this name."""
    if not dataset_exists(ws, name):
        names = ", ".join(dataset_names(ws))
        raise UserError(
            f"There is no dataset {name!r}; " + (f"choose one of {names}." if names else "import a folder first.")
        )
    store = DatasetStore(ws.dataset(name))
    store.migrate()
    return store


def list_datasets(ws: Workspace) -> list[DatasetInfo]:
    """Every dataset of the workspace, by name."""
    return [_describe(ws, name) for name in dataset_names(ws)]


def dataset_names(ws: Workspace) -> list[str]:
    """Every dataset's name, in order; none of them is opened."""
    return sorted(path.parent.name for path in ws.datasets.glob(f"[!.]*/{DATABASE_FILE}"))


def _describe(ws: Workspace, name: str) -> DatasetInfo:
    try:
        store = open_dataset(ws, name)
        images, captioned, modified = store.counts()
        return DatasetInfo(
            name=name, description=store.description, images=images, captioned=captioned, modified=modified
        )
    except UserError as error:
        return DatasetInfo(name=name, error=str(error))
