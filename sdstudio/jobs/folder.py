"""A job's folder is the truth about it: `config.json`, `state.json`, and what the job says while it runs."""

import os
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from sdstudio.jobs.context import PROGRESS_FILE
from sdstudio.jobs.devices import LOCAL
from sdstudio.schema import ENDED, JobKind, JobState, Placement, UserError, from_json, to_json
from sdstudio.workspace import Workspace, read_json, write_json

CONFIG_FILE = "config.json"
STATE_FILE = "state.json"
LOG_FILE = "log.txt"
TRACEBACK_FILE = "traceback.txt"
RESERVE_FILE = ".reserve"
RESERVE = 2**16
"""Bytes of the disk that a running job keeps, so that a full one still takes its traceback and its end."""
RESTED = 3_000_000_000
"""Nanoseconds after which a file can no longer have been written twice under one time stamp."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A process of this machine. A pid alone is used again; with the time of its creation it is not."""

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> "Identity":
        return cls(pid=pid, create_time=psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The living process, or None: gone, replaced by another of the same pid, or a zombie."""
        try:
            process = psutil.Process(self.pid)
            # The wall clock that create_time is based on may be set while the process lives.
            if abs(process.create_time() - self.create_time) > 2 or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process

    def is_this_process(self) -> bool:
        return self.pid == os.getpid() and self.process() is not None


@dataclass(frozen=True, kw_only=True)
class State:
    """`state.json`. `worker` does the job, `supervisor` watches it (none for a job in the foreground).

    `device` is where it runs, names joined by commas; `oom_kills` what `failures.oom_kills` counted at its start.
    `attempt` names the start that is in force: the only worker that may do the job is the one started under it, and a
    cluster knows the worker by it. Empty before a worker is started. `starts` counts those since it was queued.
    """

    kind: JobKind
    title: str
    created: float
    owner: str = ""
    state: JobState = "queued"
    placement: Placement = field(default_factory=Placement)
    device: str = ""
    attempt: str = ""
    starts: int = 0
    supervisor: Identity | None = None
    worker: Identity | None = None
    oom_kills: int | None = None
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str = ""
    error: str = ""
    traceback: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(self.device.split(",")) if self.device else ()

    def is_alive(self) -> bool:
        """True while anything may still work on it; of a worker on a cluster only a supervisor can tell."""
        if self.attempt and self.placement.backend != LOCAL:
            return True
        return any(identity and identity.process() for identity in (self.worker, self.supervisor))


def workspace_of(folder: Path) -> Workspace:
    """The workspace that the job's folder lies in: `<workspace>/<parent>/<id>`."""
    return Workspace(folder.parents[1])


def read_state(folder: Path) -> State:
    """What `state.json` says. A file that has rested for a while is parsed once, however often it is asked for."""
    path = f"{folder}/{STATE_FILE}"
    try:
        found = os.stat(path)  # noqa: PTH116  of thousands of jobs in a row
    except OSError:
        return _parse(path)  # which says in words what is wrong
    if abs(time.time_ns() - found.st_mtime_ns) < RESTED:
        return _parse(path)
    return _parsed(path, (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=20_000)
def _parsed(path: str, stamp: tuple[int, int, int]) -> State:
    return _parse(path)


def _parse(path: str) -> State:
    return from_json(State, read_json(Path(path)))


def write_state(folder: Path, state: State) -> None:
    write_json(folder / STATE_FILE, to_json(state))


def take_reserve(folder: Path) -> None:
    (folder / RESERVE_FILE).write_bytes(bytes(RESERVE))


def free_reserve(folder: Path) -> None:
    """Give the disk what was kept for writing the job's end, just before that is written."""
    (folder / RESERVE_FILE).unlink(missing_ok=True)


def read_progress(folder: Path) -> dict[str, Any]:
    try:
        progress: dict[str, Any] = read_json(folder / PROGRESS_FILE)
    except UserError:
        return {}
    return progress


def last_sign(folder: Path) -> float:
    """When anything directly in the folder last changed, in seconds since the epoch."""
    return max((entry.stat().st_mtime for entry in os.scandir(folder)), default=time.time())
