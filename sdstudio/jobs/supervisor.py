"""The detached process that watches one job: `python -m sdstudio.jobs.supervisor RUN_DIR`.

It starts the worker (or takes over one whose supervisor was killed), stops it in three steps when asked (the STOP
file, then terminate, then kill), reaps it, writes down an end that the worker could not, and moves the queue on.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import psutil

from sdstudio.jobs.context import STOP_FILE
from sdstudio.jobs.devices import device_environment
from sdstudio.jobs.folder import State, read_state, workspace_of
from sdstudio.jobs.processes import launch, receive_secrets
from sdstudio.jobs.queue import settle, tick, transaction

GRACE = 120.0
"""Seconds that a job has for saving after STOP, before it is terminated."""
PATIENCE = 10.0
"""Seconds between terminate and kill."""
POLL = 0.2


def supervise(
    folder: Path, grace: float = GRACE, patience: float = PATIENCE, secrets: Mapping[str, str] | None = None
) -> None:
    """Watch the job in `folder` to its end. Returns at once when this process is not its supervisor.

    `secrets` are environment variables for the worker, if this is who starts it.
    """
    ws = workspace_of(folder)
    with transaction(ws):
        state = read_state(folder)
    if state.has_ended or state.supervisor is None or not state.supervisor.is_this_process():
        return
    worker = (state.worker and state.worker.process()) or _start(folder, state, secrets or {})
    exit_code = _watch(worker, folder, grace, patience)
    _sweep(worker.pid)
    with transaction(ws):
        now = read_state(folder)
        if now.supervisor and now.supervisor.is_this_process():  # else it was resumed, which is another's to watch
            settle(folder, exit_code)
    tick(ws)


def _start(folder: Path, state: State, secrets: Mapping[str, str] = MappingProxyType({})) -> psutil.Popen:
    return launch("sdstudio.jobs.worker", folder, secrets, device_environment(state.device))


def _watch(worker: psutil.Process, folder: Path, grace: float, patience: float) -> int | None:
    """Wait for the worker's end, escalating once a stop was asked; its exit code where it can be known."""
    asked: float | None = None
    terminated: float | None = None
    while True:
        with suppress(psutil.TimeoutExpired):
            code: int | None = worker.wait(timeout=POLL)
            return code
        stop = folder / STOP_FILE
        if not stop.exists():
            continue
        now = time.monotonic()
        asked = asked if asked is not None else now
        if terminated is None and (now - asked > grace or stop.read_text(encoding="utf-8") == "now"):
            terminated = now
            _signal_tree(worker, kill=False)
        elif terminated is not None and now - terminated > patience:
            _signal_tree(worker, kill=True)


def _signal_tree(worker: psutil.Process, kill: bool) -> None:
    with suppress(psutil.NoSuchProcess):
        for process in [worker, *worker.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill() if kill else process.terminate()


def _sweep(worker_pid: int) -> None:
    """Kill what the worker left running: it led a process group of its own."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(worker_pid, signal.SIGKILL)


if __name__ == "__main__":
    supervise(Path(sys.argv[1]).resolve(), secrets=receive_secrets())
