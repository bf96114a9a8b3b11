"""Where a job's worker runs: as a process of this machine, on a Ray cluster, or through Slurm.

Whatever the backend, a detached supervisor on this machine watches each running job, and the worker is the same
command: `python -m sdstudio.jobs.worker FOLDER --attempt NAME`. A backend starts it, says how it ended, and ends it;
what the job has done and how it fared is read from its folder, which on a cluster lies on shared storage.
"""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sdstudio.jobs.devices import LOCAL as LOCAL
from sdstudio.jobs.folder import State
from sdstudio.jobs.processes import module_command
from sdstudio.schema import Placement, UserError
from sdstudio.workspace import Workspace

RAY, SLURM = "ray", "slurm"
MODULES = (LOCAL, RAY, SLURM)
"""The files of this folder that hold a backend, each as BACKEND."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a worker ended: its exit code where one can be known, and what the backend has to say about it."""

    exit_code: int | None = None
    said: str = ""


class Worker(Protocol):
    """A worker that was started, wherever it runs."""

    def wait(self, seconds: float) -> Ended | None:
        """How it ended, as soon as it has; None when it still runs after about `seconds`."""

    def terminate(self) -> None:
        """Ask it and all that it started to end."""

    def kill(self) -> None:
        """End it and all that it started; also what it left behind when it ended by itself."""


class JobBackend(Protocol):
    """One way to run workers."""

    name: str
    label: str

    def why_not(self, ws: Workspace) -> str:
        """Empty when a job can be started now; otherwise one sentence on what is missing and how to get it."""

    def places(self, ws: Workspace) -> tuple[str, ...]:
        """The devices that the queue fills, one job on each; empty where this machine's own are meant."""

    def start(self, folder: Path, state: State, secrets: Mapping[str, str]) -> Worker:
        """Start the worker of `state.attempt`. Raises UserError when it cannot be started."""

    def reattach(self, folder: Path, state: State) -> Worker | None:
        """The worker that an earlier supervisor started under `state.attempt`; None when it is gone."""


@dataclass(frozen=True, kw_only=True)
class Availability:
    """A backend for people: its name, its label, and why it cannot be used, which is empty when it can."""

    name: str
    label: str
    why_not: str

    @property
    def ready(self) -> bool:
        return not self.why_not


def get_backend(name: str) -> JobBackend:
    """The backend of that name; a UserError naming those there are otherwise."""
    if name not in MODULES:
        raise UserError(f"There is no place to run jobs named {name!r}; choose one of {', '.join(MODULES)}.")
    backend: JobBackend = importlib.import_module(f"sdstudio.jobs.backends.{name}").BACKEND
    return backend


def worker_command(folder: Path, state: State, *arguments: str, python: str = sys.executable) -> list[str]:
    """The command of the worker that `state.attempt` names; the same under every backend."""
    return module_command("sdstudio.jobs.worker", folder, "--attempt", state.attempt, *arguments, python=python)


def cluster_name(folder: Path, state: State) -> str:
    """What a cluster calls the worker of this attempt: known before it is handed over, and never used again."""
    return f"sdstudio-{folder.name}-{state.attempt}"


def available(ws: Workspace) -> list[Availability]:
    """Every backend, whether it can be used or not, this machine first."""
    backends = [get_backend(name) for name in MODULES]
    return [Availability(name=each.name, label=each.label, why_not=why_not(ws, each.name)) for each in backends]


def why_not(ws: Workspace, name: str) -> str:
    """Why the backend cannot be used; a damaged `clusters.json` is one such reason, and stops nothing else."""
    try:
        return get_backend(name).why_not(ws)
    except UserError as error:
        return str(error)


def places(ws: Workspace, name: str) -> tuple[str, ...]:
    """The cluster's places; none while it cannot be used."""
    return () if why_not(ws, name) else get_backend(name).places(ws)


def check(ws: Workspace, placement: Placement, place: str = "", has_secrets: bool = False) -> None:
    """Refuse, as a UserError, a placement that cannot work. `place` is the job kind's own (disk, network)."""
    backend = get_backend(placement.backend)
    if backend.name == LOCAL:
        return
    if place:
        raise UserError(f"This job only moves files of this machine: run it here, not on {backend.label}.")
    if has_secrets:
        raise UserError(f"A token is not handed to {backend.label}, which would keep it: run this job on this machine.")
    if missing := backend.why_not(ws):
        raise UserError(missing)
