"""What earlier jobs of this workspace took: what estimates of new ones like them rest on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdstudio.jobs.database import job_folders, readable_state
from sdstudio.jobs.folder import CONFIG_FILE, State, read_progress
from sdstudio.jobs.kinds import get_kind
from sdstudio.jobs.reading import read_job, read_metrics
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace, folder_size, read_json

LEAST_STEPS = 5
"""Fewer steps than this say little about the next."""


@dataclass(frozen=True, kw_only=True)
class Precedent:
    """What one job took: `overhead` seconds for loading and the like, `each` for every unit; sizes in bytes.

    A checkpoint holds `learned` bytes for good and `state` bytes while it is one of the newest.
    """

    title: str
    config: dict[str, Any]
    device: str
    overhead: float
    each: float
    memory: int | None = None
    learned: int | None = None
    state: int | None = None


def find(ws: Workspace, kind: str, device: str, fits: Callable[[dict[str, Any]], bool]) -> Precedent | None:
    """The newest job of this kind whose config fits, on a device of the same make, that tells something."""
    for folder, state in _newest_first(ws, kind):
        if make(state.device) == make(device) and fits(_config(folder)):
            found = _measured(folder, state)
            if found:
                return found
    return None


def make(device: str) -> str:
    """'cuda' or 'cpu': what is taken from one device holds for others of the same make."""
    return device.partition(":")[0]


def _newest_first(ws: Workspace, kind: str) -> Iterator[tuple[Path, State]]:
    parent = get_kind(kind).parent_folder(ws)
    folders = sorted((folder for folder in job_folders(ws) if folder.parent == parent), reverse=True)
    for folder in folders:
        state = readable_state(folder)
        if state and state.kind == kind and state.has_ended and state.started:
            yield folder, state


@lru_cache(maxsize=20_000)
def _config(folder: Path) -> dict[str, Any]:
    """A job's config never changes."""
    try:
        config: dict[str, Any] = read_json(folder / CONFIG_FILE)
    except UserError:
        return {}
    return config


@lru_cache(maxsize=1000)
def _measured(folder: Path, state: State) -> Precedent | None:
    return _run(folder, state) if state.kind == "train" else _other(folder, state)


def _run(folder: Path, state: State) -> Precedent | None:
    """From the times of its steps since it was last started; what comes between steps counts as theirs."""
    began, ended = state.started or 0.0, state.ended or 0.0
    rows = [row for row in read_metrics(read_job(folder)) if "loss" in row and row["time"] >= began]
    if len(rows) < LEAST_STEPS:
        return None
    first, last = rows[0], rows[-1]
    each = (last["time"] - first["time"]) / (last["step"] - first["step"])
    memory = max((row.get("memory_bytes") or 0 for row in rows), default=0)
    learned, saved = _checkpoint_sizes(folder)
    return Precedent(
        title=state.title,
        config=_config(folder),
        device=state.device,
        overhead=max(first["time"] - each - began, 0.0) + max(ended - last["time"], 0.0),
        each=each,
        memory=memory or None,
        learned=learned,
        state=saved,
    )


def _checkpoint_sizes(folder: Path) -> tuple[int | None, int | None]:
    newest = max((folder / "checkpoints").glob("step-*"), default=None)
    if newest is None:
        return None, None
    state = folder_size(newest / "state")
    return folder_size(newest) - state, state or None


def _other(folder: Path, state: State) -> Precedent | None:
    """From its last minute of progress, and from how long it took in all."""
    progress = read_progress(folder)
    since = progress.get("since")
    if state.state != "succeeded" or not since or progress["done"] <= since["done"]:
        return None
    each = (progress["time"] - since["time"]) / (progress["done"] - since["done"])
    overhead = max((state.ended or 0.0) - (state.started or 0.0) - each * progress["done"], 0.0)
    return Precedent(title=state.title, config=_config(folder), device=state.device, overhead=overhead, each=each)
