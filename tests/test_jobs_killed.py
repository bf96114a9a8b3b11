"""Supervisors, workers and servers killed at random points under load.

pytest tests/test_jobs_killed.py            # 3 kills of each
pytest tests/test_jobs_killed.py -m slow -s # 50 kills of each, and prints what it counted
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import light_jobs
import psutil
import pytest
from jobs_helpers import light_workspace, processes_of, until

from sdstudio import jobs
from sdstudio.jobs.folder import read_state
from sdstudio.jobs.transitions import STARTS
from sdstudio.schema import ENDED, Job
from sdstudio.workspace import Workspace

PROMPT = 10.0
"""Seconds within which every state is right again after a kill."""
ROLES = {"supervisor": "sdstudio.jobs.supervisor", "worker": "sdstudio.jobs.worker", "server": "light_jobs.py"}


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    workspace = light_workspace(tmp_path, monkeypatch)
    yield workspace
    for process in processes_of(workspace):
        process.kill()


def start_server(ws: Workspace, name: str) -> subprocess.Popen[bytes]:
    """A server that has begun to look after the queue."""
    server = subprocess.Popen([sys.executable, light_jobs.__file__, str(ws.root), name], env=os.environ)
    until((ws.root / f"{name} serves").exists, seconds=60)
    return server


def wrong(ws: Workspace) -> list[str]:
    """What is not as it should be: a job said to run must have both its processes, one that ended must have none."""
    problems = []
    for job in jobs.list_jobs(ws):
        state = read_state(job.folder)
        watched = bool(state.supervisor and state.supervisor.process())
        worked = bool(state.worker and state.worker.process())
        if job.state != state.state and not (job.state == "stopping" and watched):
            problems.append(f"{job.id} is shown {job.state} and written {state.state}")
        if job.state in ("running", "stopping") and not (watched and worked):
            problems.append(f"{job.id} is {job.state}, supervisor {watched}, worker {worked}")
        if job.state == "starting" and not watched:
            problems.append(f"{job.id} is starting and nobody watches it")
    return problems


def seconds_until_right(ws: Workspace) -> float:
    began = time.monotonic()
    while problems := wrong(ws):
        assert time.monotonic() - began < PROMPT, problems
        time.sleep(0.05)
    return time.monotonic() - began


def torture(ws: Workspace, role: str, kills: int) -> None:
    dice = random.Random(kills)
    servers = [start_server(ws, "first")]
    killed, slowest = 0, 0.0
    while killed < kills:
        time.sleep(dice.uniform(0, 0.8))
        victims = processes_of(ws, ROLES[role])
        if not victims:
            continue
        victim = dice.choice(victims)
        victim.kill()
        killed += 1
        if role == "server":
            servers[-1].wait()
            servers.append(start_server(ws, f"number {killed}"))
        slowest = max(slowest, seconds_until_right(ws))
    servers[-1].kill()
    servers[-1].wait()
    ended = finish(ws)
    assert ended
    states = {state: sum(job.state == state for job in ended) for state in ENDED}
    print(f"\n{kills} kills of a {role}: {len(ended)} jobs, {states}, all states right within {slowest:.1f} s")
    for job in ended:
        assert job.state in ("succeeded", "interrupted"), (job, jobs.read_log(job))
        assert light_jobs.starts(job) == 1 or (job.state == "interrupted" and light_jobs.starts(job) == 0), job
    assert states["interrupted"] <= (0 if role == "server" else kills)
    nothing_left_behind(ws)
    lost_none(ws, ended)


def finish(ws: Workspace) -> list[Job]:
    """Every job of the workspace once all have ended."""
    deadline = time.monotonic() + 60 + 10 * len(jobs.list_jobs(ws))
    while unfinished := [job for job in jobs.list_jobs(ws) if job.state not in ENDED]:
        assert time.monotonic() < deadline, unfinished
        time.sleep(0.1)
    return jobs.list_jobs(ws)


def nothing_left_behind(ws: Workspace) -> None:
    until(lambda: not processes_of(ws), seconds=PROMPT, why=lambda: processes_of(ws))


def lost_none(ws: Workspace, ended: list[Job]) -> None:
    """Every job that a kill hit is taken up again and succeeds; folders there are as many as jobs."""
    for job in ended:
        if job.state == "interrupted":
            jobs.resume_job(ws, job.id)
    again = finish(ws)
    assert {job.id for job in again} == {job.id for job in ended}
    assert {job.state for job in again} == {"succeeded"}
    nothing_left_behind(ws)


def kill_supervisor(ws: Workspace, job: Job) -> None:
    state = read_state(job.folder)
    assert state.supervisor and state.worker is None
    process = psutil.Process(state.supervisor.pid)
    process.kill()
    psutil.wait_procs([process], timeout=10)


def test_a_job_that_nobody_had_taken_up_is_started_again_but_not_for_ever(ws: Workspace) -> None:
    job = light_jobs.submit(ws, ticks=2)
    kill_supervisor(ws, job)
    assert jobs.get_job(ws, job.id).state == "queued"
    job = jobs.wait(ws, job.id, 60)
    assert (job.state, light_jobs.starts(job)) == ("succeeded", 1)
    job = light_jobs.submit(ws, ticks=2)
    for _ in range(STARTS):
        jobs.tick(ws)
        kill_supervisor(ws, job)
    assert jobs.get_job(ws, job.id).state == "interrupted"


@pytest.mark.parametrize("role", ROLES)
def test_a_few_kills_at_random_points(ws: Workspace, role: str) -> None:
    torture(ws, role, kills=3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("role", ROLES)
def test_fifty_kills_at_random_points(ws: Workspace, role: str) -> None:
    torture(ws, role, kills=50)
