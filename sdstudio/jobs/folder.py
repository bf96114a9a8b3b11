"""A job's folder is the truth about it: `config.json`, `state.json`, and what the job says while it runs."""

import json
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sdstudio.jobs.context import METRICS_FILE, PROGRESS_FILE, STOP_FILE
from sdstudio.schema import ENDED, Job, JobKind, JobState, Placement, UserError, from_json, to_json
from sdstudio.workspace import Workspace, read_json, write_json

CONFIG_FILE = "config.json"
STATE_FILE = "state.json"
LOG_FILE = "log.txt"
TRACEBACK_FILE = "traceback.txt"
GONE = "It was interrupted: its process is gone (the machine restarted, or it was killed, often for lack of memory)."


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

    `attempt` names the start that is in force: the only worker that may do the job is the one started under it, and a
    cluster knows the worker by it. Empty before a worker is started.
    """

    kind: JobKind
    title: str
    created: float
    state: JobState = "queued"
    placement: Placement = field(default_factory=Placement)
    device: str = ""
    attempt: str = ""
    supervisor: Identity | None = None
    worker: Identity | None = None
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str = ""
    error: str = ""
    traceback: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def is_alive(self) -> bool:
        """True while anything may still work on it; of a worker on a cluster only a supervisor can tell."""
        if self.attempt and self.placement.backend != "local":
            return True
        return any(identity and identity.process() for identity in (self.worker, self.supervisor))


def workspace_of(folder: Path) -> Workspace:
    """The workspace that the job's folder lies in: `<workspace>/<parent>/<id>`."""
    return Workspace(folder.parents[1])


def read_state(folder: Path) -> State:
    return from_json(State, read_json(folder / STATE_FILE))


def write_state(folder: Path, state: State) -> None:
    write_json(folder / STATE_FILE, to_json(state))


def present_state(folder: Path) -> tuple[State, JobState]:
    """What `state.json` says, and what is true now: a dead job is interrupted, an asked one is stopping."""
    state = read_state(folder)
    if state.has_ended or state.state == "queued":
        return state, state.state
    if not state.is_alive():
        again = read_state(folder)  # it may have written its end and left between the two looks
        return again, again.state if again.has_ended else "interrupted"
    return state, "stopping" if (folder / STOP_FILE).exists() else state.state


def read_job(folder: Path) -> Job:
    """The job in `folder`, right even when every process of it was killed."""
    state, now = present_state(folder)
    progress = read_progress(folder)
    interrupted = now == "interrupted" and not state.has_ended
    return Job(
        id=folder.name,
        kind=state.kind,
        title=state.title,
        folder=folder,
        state=now,
        created=state.created,
        started=state.started,
        ended=last_sign(folder) if interrupted else state.ended,
        done=int(progress.get("done", 0)),
        total=int(progress.get("total", 0)),
        unit=str(progress.get("unit", "")),
        message=state.message if state.has_ended else str(progress.get("message", "")),
        error=f"{GONE} {kept(folder)}" if interrupted else state.error,
    )


def read_progress(folder: Path) -> dict[str, Any]:
    try:
        progress: dict[str, Any] = read_json(folder / PROGRESS_FILE)
    except UserError:
        return {}
    return progress


def read_metrics(job: Job) -> list[dict[str, Any]]:
    """The numbers the job has said so far, oldest first; a line still being written is left out."""
    path = job.folder / METRICS_FILE
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def read_log(job: Job, lines: int = 50) -> str:
    """The last `lines` lines of the job's log."""
    path = job.folder / LOG_FILE
    if not path.exists():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(deque(file, maxlen=lines))


def last_sign(folder: Path) -> float:
    """When anything directly in the folder last changed, in seconds since the epoch."""
    return max((entry.stat().st_mtime for entry in os.scandir(folder)), default=time.time())


def kept(folder: Path) -> str:
    """What a job that did not finish leaves behind, and how it goes on."""
    return f"{_leftovers(folder)} `sdstudio jobs resume {folder.name}` goes on with it."


def _leftovers(folder: Path) -> str:
    checkpoints = sorted(path.name for path in (folder / "checkpoints").glob("step-*"))
    if checkpoints:
        return f"Its checkpoint {checkpoints[-1]} is kept."
    progress = read_progress(folder)
    if progress.get("done"):
        amount = f"{progress['done']} of {progress['total']} {progress['unit']}".strip()
        return f"What it had done is kept ({amount})."
    return "It had nothing to keep yet."
