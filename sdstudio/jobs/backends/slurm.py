"""Workers as batch jobs of a Slurm cluster, whose machines see the workspace and the studio at the same paths.

Slurm's own commands are called with lists of arguments. A worker is known by its job name, which holds the attempt, so
that a supervisor that died between submitting and writing anything down is replaced by one that finds it.
"""

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sdstudio.jobs.backends import SLURM, Ended, cluster_name, worker_command
from sdstudio.jobs.backends.settings import FILE, SlurmSettings, read_clusters
from sdstudio.jobs.folder import LOG_FILE, State, workspace_of
from sdstudio.jobs.processes import python_environment
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace

POLL = 2.0
PATIENCE = 60.0
"""Seconds that one of Slurm's commands may take."""
SCRIPT = '#!/bin/sh\nexec "$@"\n'
"""The batch script of every job: Slurm runs only scripts, and this one runs its arguments as they are."""
GOING_ON = {
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED",
    "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT",
}  # fmt: skip
OVERDONE = {"FAILED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY"}
"""Ends that would come again if the job were started as it was."""


class SlurmWorker:
    """A worker that Slurm runs under `name`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def wait(self, seconds: float) -> Ended | None:
        time.sleep(max(seconds, POLL))
        found = _find(self._name)
        if found is None:
            return None  # Slurm does not answer, which says nothing about the job
        state = found.partition(" ")[0]
        if state in GOING_ON:
            return None
        said = f"Slurm says of its job: {found}." if found else "Slurm knows its job no more."
        return Ended(exit_code=1 if state in OVERDONE else None, said=said)

    def terminate(self) -> None:
        _ask("scancel", "--name", self._name)

    def kill(self) -> None:
        _ask("scancel", "--signal=KILL", "--full", "--name", self._name)


class SlurmBackend:
    """A Slurm cluster."""

    name = SLURM
    label = "Slurm"

    def why_not(self, ws: Workspace) -> str:
        if shutil.which("sbatch") is None:
            return "Slurm's commands are not on this machine: run the studio where sbatch is, such as a login node."
        if read_clusters(ws).slurm is None:
            return f"No Slurm cluster is set up: write {FILE} into the workspace."
        return ""

    def places(self, ws: Workspace) -> tuple[str, ...]:
        return tuple(f"slurm:{index}" for index in range(_settings(ws).jobs))

    def start(self, folder: Path, state: State, secrets: Mapping[str, str]) -> SlurmWorker:
        settings = _settings(workspace_of(folder))
        processes = str(state.placement.processes)
        name = cluster_name(folder, state)
        options = [f"--job-name={name}", f"--output={folder / LOG_FILE}", "--open-mode=append", "--no-requeue"]
        options += [f"--chdir={workspace_of(folder).root}", "--export=ALL", "--ntasks=1"]
        options += [option.replace("{processes}", processes) for option in settings.options]
        command = worker_command(folder, state, python=settings.python)
        done = _run(["sbatch", "--parsable", *options, "/dev/stdin", *command], SCRIPT)
        if done is None or done.returncode:
            said = done.stderr.strip() if done else "it did not answer"
            raise UserError(f"Slurm did not take the job ({said}): look at the options in clusters.json.")
        return SlurmWorker(name)

    def reattach(self, folder: Path, state: State) -> SlurmWorker | None:
        name = cluster_name(folder, state)
        if _find(name) == "" and state.worker is None:
            return self.start(folder, state, {})
        return SlurmWorker(name)


def _settings(ws: Workspace) -> SlurmSettings:
    return read_clusters(ws).slurm or SlurmSettings()


def _find(name: str) -> str | None:
    """'STATE reason' of the job of that name, empty when there is none (any more), None when Slurm does not answer."""
    done = _run(["squeue", "--noheader", "--states=all", f"--name={name}", "--format=%T %r"])
    if done is None or done.returncode:
        return None
    return done.stdout.strip().partition("\n")[0]


def _ask(*command: str) -> None:
    """Say something to Slurm; a request that is not heard is made again by who waits for its effect."""
    _run(list(command))


def _run(command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str] | None:
    environment = python_environment()
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None


BACKEND = SlurmBackend()
