"""Workers as processes of this machine, each leading a session of its own."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from sdstudio.jobs.backends import LOCAL, Ended, worker_command
from sdstudio.jobs.devices import device_environment
from sdstudio.jobs.folder import State
from sdstudio.jobs.processes import launch
from sdstudio.workspace import Workspace


class LocalWorker:
    """A worker that is a process of this machine. Its exit code is known to the supervisor that started it."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process

    def wait(self, seconds: float) -> Ended | None:
        try:
            return Ended(exit_code=self.process.wait(timeout=seconds))
        except psutil.TimeoutExpired:
            return None

    def terminate(self) -> None:
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.terminate()

    def kill(self) -> None:
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if os.name == "posix":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self.process, *self.process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


class LocalBackend:
    """This machine: the worker is found again by its process id and creation time."""

    name = LOCAL
    label = "this machine"

    def why_not(self, ws: Workspace) -> str:
        return ""

    def places(self, ws: Workspace) -> tuple[str, ...]:
        return ()

    def start(self, folder: Path, state: State, secrets: Mapping[str, str]) -> LocalWorker:
        return LocalWorker(launch(worker_command(folder, state), folder, secrets, device_environment(state.device)))

    def reattach(self, folder: Path, state: State) -> LocalWorker | None:
        process = state.worker and state.worker.process()
        return LocalWorker(process) if process else None


BACKEND = LocalBackend()
