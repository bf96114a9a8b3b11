"""One job in several processes through `accelerate launch`: two gloo ranks on the CPU.

pytest tests/test_jobs_distributed.py            # the processes, with a job that only counts
pytest tests/test_jobs_distributed.py -m slow    # and real training on the starter
"""

from collections.abc import Iterator
from pathlib import Path

import light_jobs
import psutil
import pytest
from jobs_helpers import WAIT, empty_workspace, install_light_jobs, plain_pictures, processes_of, small_lora, until

from sdstudio import jobs
from sdstudio.jobs.folder import read_state
from sdstudio.schema import GenerateConfig, Job, Placement, UserError
from sdstudio.workspace import Workspace

TWO = Placement(processes=2)


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    workspace = empty_workspace(tmp_path)
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")
    yield workspace
    for process in processes_of(workspace):
        process.kill()


@pytest.fixture
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_light_jobs(tmp_path, monkeypatch, devices="cpu")


def ranks(ws: Workspace) -> list[psutil.Process]:
    return processes_of(ws, having="sdstudio.jobs.ranks", lacking="--launch")


def count_in_two(ws: Workspace, ticks: int) -> Job:
    config = GenerateConfig(prompts=[str(ticks)], models=[])
    return jobs.submit(ws, "generate", config, "counting", placement=TWO)


@pytest.mark.usefixtures("light")
def test_each_rank_does_the_job_and_the_first_alone_speaks(ws: Workspace) -> None:
    job = jobs.wait(ws, count_in_two(ws, 3).id, WAIT)
    assert (job.state, job.done, job.error) == ("succeeded", 3, ""), jobs.read_log(job)
    assert light_jobs.starts(job) == 2
    until(lambda: not processes_of(ws), seconds=10)


@pytest.mark.usefixtures("light")
def test_a_killed_launcher_leaves_no_rank_behind(ws: Workspace) -> None:
    job = count_in_two(ws, 100_000)
    until(lambda: light_jobs.starts(job) == 2)
    (launcher,) = processes_of(ws, "--launch")
    launcher.kill()
    until(lambda: not ranks(ws), seconds=5)
    job = jobs.wait(ws, job.id, WAIT)
    assert job.state == "failed"
    assert "signal 9" in job.error and "jobs resume" in job.error


@pytest.mark.slow
@pytest.mark.usefixtures("light")
def test_when_everybody_above_the_ranks_is_killed_they_end_too(ws: Workspace) -> None:
    job = count_in_two(ws, 100_000)
    until(lambda: light_jobs.starts(job) == 2)
    state = read_state(job.folder)
    for identity in (state.supervisor, state.worker):
        assert identity
        psutil.Process(identity.pid).kill()
    until(lambda: not processes_of(ws), seconds=5)
    assert jobs.get_job(ws, job.id).state == "interrupted"


def losses(job: Job) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in jobs.read_metrics(job)]


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_learns_and_go_on_where_they_stopped(ws: Workspace, tmp_path: Path) -> None:
    plain_pictures(ws, 5)
    whole = jobs.wait(ws, jobs.submit(ws, "train", small_lora(4, batch_size=2), placement=TWO).id, WAIT)
    assert whole.state == "succeeded", (whole.error, jobs.read_log(whole))
    assert [step for step, _ in losses(whole)] == [1, 2, 3, 4]

    alone = jobs.wait(ws, jobs.submit(ws, "train", small_lora(4, batch_size=2, gradient_accumulation=2)).id, WAIT)
    assert losses(alone) == [(step, pytest.approx(loss, rel=1e-4)) for step, loss in losses(whole)]

    half = jobs.submit(ws, "train", small_lora(4, batch_size=2), placement=TWO)
    until(lambda: bool(losses(half)))
    jobs.stop_job(ws, half.id)
    stopped = jobs.wait(ws, half.id, WAIT)
    assert stopped.state == "cancelled", (stopped.error, jobs.read_log(stopped))
    assert 0 < len(losses(stopped)) < 4
    resumed = jobs.wait(ws, jobs.resume_job(ws, half.id).id, WAIT)
    assert resumed.state == "succeeded", (resumed.error, jobs.read_log(resumed))
    assert losses(resumed) == losses(whole)
    until(lambda: not processes_of(ws), seconds=10)


def test_what_knows_nothing_of_ranks_is_not_done_twice(ws: Workspace) -> None:
    with pytest.raises(UserError, match="Only training"):
        jobs.submit(ws, "generate", GenerateConfig(prompts=["a"]), placement=TWO)
    assert not ws.tasks.exists() and not ws.images.exists()
