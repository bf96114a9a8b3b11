"""What a person sees of a job, read from its folder: right even when every process of it was killed."""

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdstudio.jobs import backends
from sdstudio.jobs.context import METRICS_FILE, STOP_FILE
from sdstudio.jobs.devices import NETWORK, missing_device
from sdstudio.jobs.folder import CONFIG_FILE, LOG_FILE, TRACEBACK_FILE, State, read_progress, read_state, workspace_of
from sdstudio.jobs.kinds import get_kind
from sdstudio.jobs.transitions import ending
from sdstudio.schema import Job
from sdstudio.workspace import read_json, read_json_lines

TAIL = 2**18
"""Bytes at the end of a log or of the numbers that a page looks at."""


def may_need_token(job: Job) -> bool:
    """Whether the job talks to the Hub, so that it may have been given a token, which nothing kept."""
    if job.kind == "import":
        return bool(read_json(job.folder / CONFIG_FILE).get("source") == "hub")
    return get_kind(job.kind).place == NETWORK


def present_state(folder: Path) -> State:
    """What is true of the job now: a dead one has ended, though nobody has written it down yet."""
    state = read_state(folder)
    if state.has_ended or state.state == "queued" or state.is_alive():
        return state
    again = read_state(folder)  # it may have written its end and left between the two looks
    return again if again.has_ended else ending(folder, again)


def read_job(folder: Path) -> Job:
    """The job in `folder`. One that has ended is put together once for each way in which it ended."""
    state = present_state(folder)
    return ended_job(folder, state) if state.has_ended else _job(folder, state)


@lru_cache(maxsize=20_000)
def ended_job(folder: Path, state: State) -> Job:
    """The job in `folder`, which ended as `state` says."""
    return _job(folder, state)


def _job(folder: Path, state: State) -> Job:
    progress = read_progress(folder)
    rate, left = pace(progress, time.time()) if state.state == "running" else (None, None)
    stopping = not state.has_ended and state.state != "queued" and (folder / STOP_FILE).exists()
    return Job(
        id=folder.name,
        kind=state.kind,
        title=state.title,
        folder=folder,
        state="stopping" if stopping else state.state,
        created=state.created,
        owner=state.owner,
        placement=state.placement,
        device=state.device,
        started=state.started,
        ended=state.ended,
        done=int(progress.get("done", 0)),
        total=int(progress.get("total", 0)),
        unit=str(progress.get("unit", "")),
        rate=rate,
        left=left,
        message=_message(folder, state, progress),
        error=state.error,
        traceback=folder / TRACEBACK_FILE if (folder / TRACEBACK_FILE).exists() else None,
    )


def _message(folder: Path, state: State, progress: dict[str, Any]) -> str:
    if state.has_ended:
        return state.message
    if state.state == "queued":
        missing = missing_device(state.placement)
        if missing:
            return f"waits for {missing}, which this machine does not have"
        why = backends.why_not(workspace_of(folder), state.placement.backend)
        if why:
            return f"waits: {why}"
    return str(progress.get("message", ""))


def pace(progress: dict[str, Any], now: float) -> tuple[float | None, float | None]:
    """Units per second since the start of the recent window, and the seconds that the rest takes at that rate.

    A job that has been silent for longer than two units should take is as slow as that silence says.
    """
    since = progress.get("since")
    units = progress["done"] - since["done"] if since else 0
    span = progress["time"] - since["time"] if since else 0.0
    if units <= 0 or span <= 0:
        return None, None
    silent = now - progress["time"]
    rate = units / (span + silent if silent > 2 * span / units else span)
    return rate, max(progress["total"] - progress["done"], 0) / rate


def read_metrics(job: Job) -> list[dict[str, Any]]:
    """The numbers the job has said so far, oldest first; a line still being written is left out."""
    return list(read_json_lines(job.folder / METRICS_FILE))


def latest_metrics(job: Job) -> list[dict[str, Any]]:
    """The last of those numbers, as many as a few screens hold, however many there are."""
    return _rows(_tail(job.folder / METRICS_FILE))


def read_log(job: Job, lines: int = 50) -> str:
    """The last `lines` lines of the job's log, as far as they lie in its last 256 KiB."""
    return "".join(f"{line}\n" for line in _tail(job.folder / LOG_FILE)[-lines:])


def _tail(path: Path) -> list[str]:
    """The last lines of a text file that may be large and is being written; none where there is no file."""
    try:
        with path.open("rb") as file:
            start = max(file.seek(0, os.SEEK_END) - TAIL, 0)
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return []
    if not lines[-1]:
        lines.pop()
    return lines[1:] if start else lines


def _rows(lines: Iterable[str]) -> list[dict[str, Any]]:
    rows = []
    for line in lines:
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def read_traceback(job: Job) -> str:
    """The Python traceback of a job that failed; empty when it left none."""
    return job.traceback.read_text(encoding="utf-8") if job.traceback and job.traceback.exists() else ""
