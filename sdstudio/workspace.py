"""Every path of the workspace in one place, and the only ways to write into it."""

import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.schema import UserError
from sdstudio.words import size as in_words

ENV_VAR = "SDSTUDIO_WORKSPACE"
OWN_FOLDER = f"Set {ENV_VAR} or --workspace to a folder of your own."
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class Workspace:
    """One folder that holds all of a studio's work; copied elsewhere, it means the same."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "studio.db"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def evaluations(self) -> Path:
        return self.root / "evaluations"

    @property
    def tasks(self) -> Path:
        """Folders of jobs that leave no artefact of their own: captioning, import, push."""
        return self.root / "tasks"

    @property
    def sweeps(self) -> Path:
        """Files that say which runs belong together."""
        return self.root / "sweeps"

    @property
    def suites(self) -> Path:
        """Prompt suites of one's own, a file each."""
        return self.root / "suites"

    @property
    def trash(self) -> Path:
        """Deleted jobs, and beside them `deleted_pictures`, until it is emptied."""
        return self.root / "trash"

    @property
    def deleted_pictures(self) -> Path:
        """Generated pictures that were deleted one by one, under the paths that they had."""
        return self.trash / "pictures"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def models(self) -> Path:
        return self.root / "models"

    def dataset(self, name: str) -> Path:
        return safe_join(self.datasets, check_name(name, "dataset"))

    def within(self, path: Path) -> str:
        """The path relative to the workspace where it lies in it, so that a copied workspace keeps its meaning."""
        root, found = self.root.resolve(), path.resolve()
        return found.relative_to(root).as_posix() if found.is_relative_to(root) else str(path)


def current_workspace() -> Workspace:
    """The workspace named by SDSTUDIO_WORKSPACE, `./workspace` otherwise; made when missing."""
    root = Path(os.environ.get(ENV_VAR) or "workspace").expanduser().resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The workspace {root} cannot be made: {error.strerror}. {OWN_FOLDER}") from error
    return Workspace(root)


def check_name(name: str, what: str) -> str:
    """Return `name` when it is safe as a folder name; a UserError that says the rule otherwise."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a usable {what} name: use 1 to 80 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit."
        )
    return name


def safe_join(root: Path, *parts: str) -> Path:
    """`root/parts…`, resolved; a UserError when it would leave `root`, or no file can have such a name."""
    base = root.resolve()
    path = _resolved(base.joinpath(*parts))
    if not path.is_relative_to(base):
        raise UserError(f"The path {'/'.join(parts)!r} leaves the folder {base}.")
    return path


def typed_path(text: str) -> Path:
    """The path that a person wrote, '~' understood, resolved; a UserError when no file can have such a name."""
    return _resolved(Path(text))


def _resolved(path: Path) -> Path:
    try:
        found = path.expanduser().resolve()
        found.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, odd characters, an unknown ~user
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"No file can be at {str(path)!r}: {reason}.") from error
    return found


def refuse_pickle(path: Path) -> None:
    """A UserError for the name of a pickle, a file that runs whatever its writer put into it when it is read."""
    if path.suffix.lower() in PICKLES:
        raise UserError(
            f"{path.name} may hold pickled code, which the studio never runs: convert it to .safetensors first."
        )


def new_id(label: str = "") -> str:
    """A folder name that sorts by time and does not collide: `20260131-142530-lora-3f9a`."""
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:32]
    return "-".join(part for part in (time.strftime("%Y%m%d-%H%M%S"), slug, secrets.token_hex(2)) if part)


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write the whole file or nothing: temporary file beside it, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable (a no-op where folders cannot be opened, as on Windows)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_space(folder: Path, size: float, what: str) -> None:
    """Raise a UserError unless the disk of `folder` has `size` bytes free for `what`."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"The disk is too full for {what}: {in_words(size)} are needed and {in_words(free)} are free. "
            "Free some space, or put the workspace on another disk."
        )


def folder_size(folder: Path) -> int:
    """Bytes of all files in the folder and below; 0 when there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON; a ValueError for NaN and infinities, which JSON does not have."""
    atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The parsed file; a UserError naming it when it is missing, cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON (line {error.lineno}: {error.msg}).") from error


def append_json(path: Path, value: Any) -> None:
    """Add `value` as one line of JSON, on the disk when this returns; a line that a crash has torn is ended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_json_lines(path: Path) -> Iterator[Any]:
    """The values of the file's lines, torn ones passed over; none where there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")  # texts may hold other line ends
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
