"""What the studio asks of a cluster and what it makes of the answers, without one: pytest tests/test_jobs_backends.py

`test_jobs_ray.py` and `test_jobs_slurm.py` do the same with real ones.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jobs_helpers import empty_workspace

from sdstudio.jobs import backends, supervisor
from sdstudio.jobs.backends import Ended, cluster_name, ray, slurm
from sdstudio.jobs.backends.settings import FILE, RAY_ADDRESS, RaySettings, read_clusters
from sdstudio.jobs.devices import NETWORK
from sdstudio.jobs.folder import Identity, State, write_state
from sdstudio.schema import Placement, UserError
from sdstudio.workspace import Workspace, write_json

RECORDER = """#!/bin/sh
for argument in "$0" "$@"; do printf '%s\\n' "$argument"; done >> "$CALLS"
case "$0" in *sbatch) cat >> "$CALLS";; esac
printf '%s' "$ANSWER"
printf '%s' "$COMPLAINT" >&2
exit "${CODE:-0}"
"""
"""A command that writes down how it was called and answers as it was told to."""
STATE = State(
    kind="train", title="asim", created=0.0, attempt="a1b2", placement=Placement(backend="slurm", processes=2)
)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv(RAY_ADDRESS, raising=False)
    return empty_workspace(tmp_path)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which Slurm's three commands write down how they were called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        (programs / name).write_text(RECORDER)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(slurm, "POLL", 0.0)
    return tmp_path / "calls"


# ---------------------------------------------------------------- settings


def test_what_a_workspace_says_of_its_clusters(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_clusters(ws)
    assert (found.ray.address, found.ray.jobs, found.ray.python, found.slurm) == ("", 1, sys.executable, None)
    write_json(ws.root / FILE, {"ray": {"address": "http://head:8265", "jobs": 4}, "slurm": {"options": ["--time=1"]}})
    found = read_clusters(ws)
    assert (found.ray.address, found.ray.jobs) == ("http://head:8265", 4)
    assert found.slurm and found.slurm.options == ["--time=1"]
    assert backends.get_backend("ray").places(ws) == ("ray:0", "ray:1", "ray:2", "ray:3")
    assert backends.get_backend("slurm").places(ws) == ("slurm:0",)
    monkeypatch.setenv(RAY_ADDRESS, "http://other:8265")
    assert read_clusters(ws).ray == RaySettings(address="http://other:8265", jobs=4)


@pytest.mark.parametrize(
    "wrong", [{"ray": {"adress": "x"}}, {"ray": {"jobs": 0}}, {"slurm": {"options": "--time=1"}}, {"k8s": {}}]
)
def test_a_wrong_setting_is_refused_by_its_name(ws: Workspace, calls: Path, wrong: dict[str, dict[str, Any]]) -> None:
    write_json(ws.root / FILE, wrong)
    name = next(iter(next(iter(wrong.values())) or wrong))
    with pytest.raises(UserError, match=name):
        read_clusters(ws)
    why = {each.name: each.why_not for each in backends.available(ws)}
    assert why["local"] == "" and any(name in said for said in why.values())


def test_what_a_cluster_cannot_do_is_refused_before_a_job_is_made(ws: Workspace) -> None:
    with pytest.raises(UserError, match="There is no place to run jobs"):
        backends.check(ws, Placement(backend="k8s"))
    for backend in ("ray", "slurm"):
        with pytest.raises(UserError, match="only moves files"):
            backends.check(ws, Placement(backend=backend), place=NETWORK)
        with pytest.raises(UserError, match="A token is not handed"):
            backends.check(ws, Placement(backend=backend), has_secrets=True)
    why = {each.name: each.why_not for each in backends.available(ws)}
    assert why["local"] == "" and why["ray"] and why["slurm"]
    backends.check(ws, Placement(), place=NETWORK, has_secrets=True)


# ---------------------------------------------------------------- Slurm


def test_slurm_is_given_the_worker_and_its_options_as_they_are(ws: Workspace, calls: Path) -> None:
    folder = ws.runs / "asim; rm -rf $HOME"
    folder.mkdir(parents=True)
    write_json(ws.root / FILE, {"slurm": {"options": ["--gpus={processes}"], "python": "/shared/python"}})
    slurm.BACKEND.start(folder, STATE, {})
    program, *said = calls.read_text().split("\n")
    assert program.endswith("sbatch") and "--gpus=2" in said
    assert f"--job-name={cluster_name(folder, STATE)}" in said and "a1b2" in cluster_name(folder, STATE)
    command = said[said.index("/dev/stdin") + 1 :]
    assert command[:6] == ["/shared/python", "-m", "sdstudio.jobs.worker", str(folder), "--attempt", "a1b2"]
    assert command[6:] == ["#!/bin/sh", 'exec "$@"', ""]


def test_what_slurm_refuses_is_passed_on(ws: Workspace, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODE", "1")
    monkeypatch.setenv("COMPLAINT", "invalid partition specified: gpu")
    with pytest.raises(UserError, match="invalid partition specified: gpu"):
        slurm.BACKEND.start(ws.runs / "asim", STATE, {})


@pytest.mark.parametrize(
    ("answer", "code", "ended"),
    [
        ("PENDING Priority\n", "0", None),
        ("COMPLETING None\n", "0", None),
        ("", "1", None),
        ("COMPLETED None\n", "0", Ended(said="Slurm says of its job: COMPLETED None.")),
        ("NODE_FAIL None\n", "0", Ended(said="Slurm says of its job: NODE_FAIL None.")),
        ("TIMEOUT TimeLimit\n", "0", Ended(exit_code=1, said="Slurm says of its job: TIMEOUT TimeLimit.")),
        ("", "0", Ended(said="Slurm knows its job no more.")),
    ],
)
def test_what_slurm_says_of_a_worker(
    calls: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: str, ended: Ended | None
) -> None:
    monkeypatch.setenv("ANSWER", answer)
    monkeypatch.setenv("CODE", code)
    assert slurm.SlurmWorker("sdstudio-asim-a1b2").wait(0.0) == ended


def test_a_worker_of_slurm_is_ended_by_its_name(calls: Path) -> None:
    worker = slurm.SlurmWorker("sdstudio-asim-a1b2")
    worker.terminate()
    worker.kill()
    called = [line for line in calls.read_text().splitlines() if not line.endswith("scancel")]
    assert called == ["--name", worker._name, "--signal=KILL", "--full", "--name", worker._name]


def test_a_lost_supervisor_starts_no_second_worker_on_slurm(ws: Workspace, calls: Path, monkeypatch) -> None:
    folder = ws.runs / "asim"

    def begun(answer: str, state: State) -> bool:
        calls.write_text("")
        monkeypatch.setenv("ANSWER", answer)
        assert slurm.BACKEND.reattach(folder, state)
        return "sbatch" in calls.read_text()

    claimed = replace(STATE, worker=Identity(pid=1, create_time=0.0))
    assert not begun("RUNNING None\n", STATE)
    assert not begun("", claimed)
    assert begun("", STATE)


# ---------------------------------------------------------------- Ray


class Client:
    """The part of Ray's JobSubmissionClient that a worker is watched through, with one answer."""

    def __init__(self, status: str) -> None:
        self.status, self.stopped = status, 0

    def get_job_info(self, name: str) -> Any:
        if self.status == "no answer":
            raise ConnectionError("the dashboard is gone")
        code = {"SUCCEEDED": 0, "FAILED": 1}.get(self.status)
        return SimpleNamespace(status=SimpleNamespace(value=self.status), driver_exit_code=code, message="it said so")

    def get_job_logs(self, name: str) -> str:
        raise RuntimeError("the log is on a node that died")

    def stop_job(self, name: str) -> None:
        self.stopped += 1


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ("PENDING", None),
        ("RUNNING", None),
        ("no answer", None),
        ("SUCCEEDED", Ended(exit_code=0, said="Ray says of its job: SUCCEEDED. it said so")),
        ("FAILED", Ended(exit_code=1, said="Ray says of its job: FAILED. it said so")),
        ("STOPPED", Ended(exit_code=None, said="Ray says of its job: STOPPED. it said so")),
    ],
)
def test_what_ray_says_of_a_worker(monkeypatch: pytest.MonkeyPatch, status: str, ended: Ended | None) -> None:
    monkeypatch.setattr(ray, "POLL", 0.0)
    client = Client(status)
    worker = ray.RayWorker(client, "sdstudio-asim-a1b2")
    assert worker.wait(0.0) == ended
    worker.kill()
    assert client.stopped == 1


def test_each_process_takes_its_resources_of_ray() -> None:
    settings = RaySettings(resources={"GPU": 1, "CPU": 2, "memory": 10, "trainer": 0.5})
    assert ray._resources(settings, 2) == {
        "entrypoint_num_gpus": 2,
        "entrypoint_num_cpus": 4,
        "entrypoint_memory": 20,
        "entrypoint_resources": {"trainer": 1.0},
    }
    assert ray._resources(RaySettings(), 2) == {}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("deleted", [False, True])
def test_a_cluster_that_falls_silent_after_the_end_is_not_waited_for(tmp_path: Path, deleted: bool) -> None:
    kills: list[str] = []
    silent = SimpleNamespace(wait=lambda seconds: None, terminate=lambda: None, kill=lambda: kills.append("kill"))
    if not deleted:
        write_state(tmp_path, State(kind="train", title="", created=0, state="succeeded"))
    assert supervisor._watch(silent, tmp_path, grace=60, patience=0.1) == Ended()
    assert kills == ["kill"]
