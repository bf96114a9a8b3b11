"""Workers as jobs of a Ray cluster, whose machines see the workspace and the studio at the same paths.

A worker is known by its submission id, which holds the attempt, so that a supervisor that died between submitting and
writing anything down is replaced by one that finds it. Ray keeps no token: see `docs/guide-clusters.md`.
"""

import importlib.util
import os
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from sdstudio.jobs.backends import RAY, Ended, cluster_name, worker_command
from sdstudio.jobs.backends.settings import FILE, RAY_ADDRESS, RaySettings, read_clusters
from sdstudio.jobs.folder import State, workspace_of
from sdstudio.jobs.processes import python_environment
from sdstudio.schema import UserError
from sdstudio.words import first_line
from sdstudio.workspace import Workspace

T = TypeVar("T")
POLL = 2.0
OVER = ("SUCCEEDED", "FAILED", "STOPPED")
NAMED = {"CPU": "entrypoint_num_cpus", "GPU": "entrypoint_num_gpus", "memory": "entrypoint_memory"}
"""Ray's names for the resources that every cluster has; others go by their own."""


class RayWorker:
    """A worker that a Ray cluster runs as the job of that submission id."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name

    def wait(self, seconds: float) -> Ended | None:
        time.sleep(max(seconds, POLL))
        info = _heard(lambda: self._client.get_job_info(self._name))
        if info is None or str(info.status.value) not in OVER:
            return None
        log = _heard(lambda: self._client.get_job_logs(self._name)) or ""
        said = f"Ray says of its job: {info.status.value}. {info.message or ''}\n{log}".strip()
        return Ended(exit_code=info.driver_exit_code, said=said)

    def terminate(self) -> None:
        _heard(lambda: self._client.stop_job(self._name))

    def kill(self) -> None:
        self.terminate()  # Ray kills what does not end within RAY_JOB_STOP_WAIT_TIME_S of its own


class RayBackend:
    """A Ray cluster, through its Jobs API."""

    name = RAY
    label = "Ray cluster"

    def why_not(self, ws: Workspace) -> str:
        if importlib.util.find_spec("ray") is None:
            return "Ray is not installed: pip install 'sdstudio[ray]'."
        if not read_clusters(ws).ray.address:
            return f"No Ray cluster is named: set {RAY_ADDRESS} or write {FILE} into the workspace."
        return ""

    def places(self, ws: Workspace) -> tuple[str, ...]:
        return tuple(f"ray:{index}" for index in range(read_clusters(ws).ray.jobs))

    def start(self, folder: Path, state: State, secrets: Mapping[str, str]) -> RayWorker:
        settings = read_clusters(workspace_of(folder)).ray
        client, name = _connect(settings), cluster_name(folder, state)
        command = worker_command(folder, state, "--log", python=settings.python)
        try:
            client.submit_job(
                entrypoint="exec " + shlex.join(command),
                submission_id=name,
                runtime_env={"env_vars": {"PYTHONPATH": python_environment()["PYTHONPATH"]}},
                **_resources(settings, state.placement.processes),
            )
        except (RuntimeError, ValueError) as error:
            said = str(error).strip().splitlines()[-1]
            raise UserError(f"The Ray cluster at {settings.address} did not take the job ({said}).") from error
        return RayWorker(client, name)

    def reattach(self, folder: Path, state: State) -> RayWorker | None:
        client, name = _connect(read_clusters(workspace_of(folder)).ray), cluster_name(folder, state)
        known = _heard(lambda: [job.submission_id for job in client.list_jobs()])
        if known is not None and name not in known:
            return self.start(folder, state, {}) if state.worker is None else None
        return RayWorker(client, name)


def _resources(settings: RaySettings, processes: int) -> dict[str, Any]:
    """What the job's entrypoint takes of the cluster, as arguments of `submit_job`."""
    wanted = {name: amount * processes for name, amount in settings.resources.items()}
    named: dict[str, Any] = {NAMED[name]: wanted.pop(name) for name in list(wanted) if name in NAMED}
    return {**named, "entrypoint_resources": wanted} if wanted else named


def _connect(settings: RaySettings) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(settings.address)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(
            f"There is no Ray cluster at {settings.address}, or it refuses this studio ({first_line(error)})."
        ) from error


def _heard(ask: Callable[[], T]) -> T | None:
    """The cluster's answer; None when it does not give one, which says nothing about the job."""
    try:
        return ask()
    except (ConnectionError, RuntimeError, OSError):
        return None


BACKEND = RayBackend()
