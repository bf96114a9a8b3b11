"""Jobs on a Slurm cluster of one node on this machine.

apt-get install slurm-wlm munge && pytest tests/test_jobs_slurm.py -m slurm
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import slurm_cluster
from jobs_helpers import WAIT, empty_workspace, plain_pictures, small_lora, until

from sdstudio import jobs
from sdstudio.jobs.backends.settings import FILE
from sdstudio.jobs.folder import read_state
from sdstudio.models import latest_checkpoint
from sdstudio.schema import Job, Placement, UserError
from sdstudio.workspace import Workspace, write_json

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing()),
]
SLURM = Placement(backend="slurm")
STEPS = 60


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with slurm_cluster.cluster() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in {**variables, "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    workspace = empty_workspace(tmp_path)
    plain_pictures(workspace, 4)
    return workspace


def tell(ws: Workspace, *options: str) -> None:
    write_json(ws.root / FILE, {"slurm": {"options": list(options)}})


def train(ws: Workspace, steps: int) -> Job:
    return jobs.submit(ws, "train", small_lora(steps), placement=SLURM)


def steps(job: Job) -> list[int]:
    return [row["step"] for row in jobs.read_metrics(job) if "loss" in row]


def slurm_states() -> list[str]:
    command = ["squeue", "--noheader", "--states=all", "--format=%T"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout.split()


def test_a_job_goes_through_is_stopped_and_resumed(ws: Workspace) -> None:
    tell(ws, "--partition=main", "--ntasks={processes}")
    job = train(ws, STEPS)
    until(lambda: len(steps(job)) > 2 or jobs.wait(ws, job.id, 0).state == "failed")
    assert slurm_states() == ["RUNNING"], jobs.read_log(job)

    supervisor = read_state(job.folder).supervisor
    assert supervisor
    psutil.Process(supervisor.pid).kill()
    jobs.tick(ws)
    jobs.stop_job(ws, job.id)
    stopped = jobs.wait(ws, job.id, WAIT)
    assert stopped.state == "cancelled", (stopped.error, jobs.read_log(stopped))
    kept = latest_checkpoint(job.folder)
    assert kept and kept.name == f"step-{len(steps(job)):06d}" and len(steps(job)) < STEPS

    ended = jobs.wait(ws, jobs.resume_job(ws, job.id).id, WAIT)
    assert ended.state == "succeeded", (ended.error, jobs.read_log(ended))
    assert steps(job) == list(range(1, STEPS + 1))
    assert f"Going on from step {int(kept.name[-6:])}" in jobs.read_log(ended)
    until(lambda: slurm_states() == ["COMPLETED"] * 2)


def test_a_job_that_slurm_ends_says_so(ws: Workspace) -> None:
    tell(ws)
    job = train(ws, 100_000)
    until(lambda: len(steps(job)) > 2 or jobs.wait(ws, job.id, 0).state == "failed")
    subprocess.run(["scancel", "--signal=KILL", "--full", "--user=root"], check=True)
    ended = jobs.wait(ws, job.id, WAIT)
    assert ended.state in ("interrupted", "failed") and "jobs resume" in ended.error
    assert "Slurm says of its job: " in jobs.read_log(ended)


def test_stop_now_takes_the_job_from_slurm(ws: Workspace) -> None:
    tell(ws)
    job = train(ws, 100_000)
    until(lambda: len(steps(job)) > 2 or jobs.wait(ws, job.id, 0).state == "failed")
    jobs.stop_job(ws, job.id, now=True)
    assert jobs.wait(ws, job.id, WAIT).state == "cancelled"
    until(lambda: "RUNNING" not in slurm_states())


def test_what_slurm_refuses_is_said(ws: Workspace) -> None:
    with pytest.raises(UserError, match="No Slurm cluster is set up"):
        train(ws, 1)
    tell(ws, "--partition=nowhere")
    job = jobs.wait(ws, train(ws, 1).id, WAIT)
    assert job.state == "failed" and "invalid partition" in job.error and FILE in job.error
