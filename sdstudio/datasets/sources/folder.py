"""A folder on this machine, with its subfolders."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdstudio.datasets.sources.layout import offer_tree
from sdstudio.datasets.sources.offer import Offer, Refused, Source, TreeFile, is_clutter
from sdstudio.schema import ImportConfig, UserError
from sdstudio.workspace import typed_path

LINKED_FOLDER = "It is a link to a folder, and those are not followed; import that folder itself."
NO_FILE = "It is a device or a pipe, not a file."


def detect(place: str) -> bool:
    return typed_path(place).is_dir()


@contextmanager
def open_folder(config: ImportConfig) -> Iterator[Offer]:
    root = typed_path(config.folder)
    if not config.folder or not root.is_dir():
        raise UserError(f"There is no folder {config.folder!r}; give one that holds pictures.")
    files, refused = walk(root)
    yield offer_tree(f"The folder {root}", files, refused, config)


def walk(root: Path) -> tuple[list[TreeFile], Refused]:
    """(the files under `root` without clutter, (folder, reason) of what cannot be listed)."""
    files: list[TreeFile] = []
    problems: Refused = []

    def refuse(error: OSError) -> None:
        name = Path(error.filename).relative_to(root).as_posix()
        problems.append((name, f"It cannot be listed: {error.strerror}."))

    for folder, subfolders, names in os.walk(root, onerror=refuse):
        relative = Path(folder).relative_to(root).as_posix()
        inside = "" if relative == "." else f"{relative}/"
        subfolders[:] = [name for name in subfolders if not is_clutter(name)]
        links = (name for name in subfolders if Path(folder, name).is_symlink())
        problems += [(f"{inside}{name}", LINKED_FOLDER) for name in links]
        for name in names:
            if is_clutter(name):
                continue
            path = os.path.join(folder, name)  # noqa: PTH118 (a Path for each doubles the walk of 100,000 files)
            try:
                status = os.stat(path)  # noqa: PTH116
            except OSError as error:  # such as a link that leads nowhere
                problems.append((f"{inside}{name}", f"It cannot be read: {error.strerror}."))
                continue
            if stat.S_ISREG(status.st_mode):
                files.append(TreeFile.of(path, f"{inside}{name}", status.st_size))
            else:
                problems.append((f"{inside}{name}", NO_FILE))
    return files, problems


RECORD = Source(name="folder", label="Folder", detect=detect, open=open_folder)
