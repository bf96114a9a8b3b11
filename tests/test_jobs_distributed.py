"""One job in several processes through `accelerate launch`: two gloo ranks on the CPU.

pytest tests/test_jobs_distributed.py            # the processes, with a job that only counts
pytest tests/test_jobs_distributed.py -m slow    # and real training on the starter
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import light_jobs
import psutil
import pytest
from PIL import Image

from sdstudio import jobs
from sdstudio.datasets import create_dataset
from sdstudio.jobs import kinds
from sdstudio.jobs.folder import read_state
from sdstudio.schema import GenerateConfig, Job, LoopConfig, Placement, TrainConfig, UserError
from sdstudio.workspace import Workspace

TWO = Placement(processes=2)
WAIT = 240.0


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")
    yield workspace
    for process in family(workspace):
        process.kill()


@pytest.fixture
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kinds.KINDS, "generate", kinds.KINDS["generate"])
    light_jobs.install()
    for name, value in light_jobs.environment(tmp_path / "site").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")


def family(ws: Workspace, having: str = "", lacking: str = "no such word") -> list[psutil.Process]:
    """The living processes that work for this workspace, by a word of their command."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        matches = str(ws.root) in line and having in line and lacking not in line
        if matches and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def ranks(ws: Workspace) -> list[psutil.Process]:
    return family(ws, having="sdstudio.jobs.ranks", lacking="--launch")


def until(what: Callable[[], bool], seconds: float = WAIT) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def count_in_two(ws: Workspace, ticks: int) -> Job:
    config = GenerateConfig(prompts=[str(ticks)], models=[])
    return jobs.submit(ws, "generate", config, "counting", placement=TWO)


@pytest.mark.usefixtures("light")
def test_each_rank_does_the_job_and_the_first_alone_speaks(ws: Workspace) -> None:
    job = jobs.wait(ws, count_in_two(ws, 3).id, WAIT)
    assert (job.state, job.done, job.error) == ("succeeded", 3, ""), jobs.read_log(job)
    assert light_jobs.starts(job) == 2
    until(lambda: not family(ws), seconds=10)


@pytest.mark.usefixtures("light")
def test_a_killed_launcher_leaves_no_rank_behind(ws: Workspace) -> None:
    job = count_in_two(ws, 100_000)
    until(lambda: light_jobs.starts(job) == 2)
    (launcher,) = family(ws, "--launch")
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
    until(lambda: not family(ws), seconds=5)
    assert jobs.get_job(ws, job.id).state == "interrupted"


def train(**loop: int) -> TrainConfig:
    settings = LoopConfig(steps=4, batch_size=2, sample_every=0, checkpoint_every=100, seed=3, **loop)
    return TrainConfig(dataset="set", method="lora", method_options={"rank": 2}, loop=settings)


def losses(job: Job) -> list[tuple[int, float]]:
    return [(row["step"], row["loss"]) for row in jobs.read_metrics(job)]


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_learns_and_go_on_where_they_stopped(ws: Workspace, tmp_path: Path) -> None:
    store = create_dataset(ws, "set")
    for index in range(5):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (64, 64), (50 * index, 80, 120)).save(path)
        store.add(path.read_bytes(), path.name, f"asim. a plain picture, number {index}")

    whole = jobs.wait(ws, jobs.submit(ws, "train", train(), placement=TWO).id, WAIT)
    assert whole.state == "succeeded", (whole.error, jobs.read_log(whole))
    assert [step for step, _ in losses(whole)] == [1, 2, 3, 4]

    alone = jobs.wait(ws, jobs.submit(ws, "train", train(gradient_accumulation=2)).id, WAIT)
    assert losses(alone) == [(step, pytest.approx(loss, rel=1e-4)) for step, loss in losses(whole)]

    half = jobs.submit(ws, "train", train(), placement=TWO)
    until(lambda: bool(losses(half)))
    jobs.stop_job(ws, half.id)
    stopped = jobs.wait(ws, half.id, WAIT)
    assert stopped.state == "cancelled", (stopped.error, jobs.read_log(stopped))
    assert 0 < len(losses(stopped)) < 4
    resumed = jobs.wait(ws, jobs.resume_job(ws, half.id).id, WAIT)
    assert resumed.state == "succeeded", (resumed.error, jobs.read_log(resumed))
    assert losses(resumed) == losses(whole)
    until(lambda: not family(ws), seconds=10)


def test_what_knows_nothing_of_ranks_is_not_done_twice(ws: Workspace) -> None:
    with pytest.raises(UserError, match="Only training"):
        jobs.submit(ws, "generate", GenerateConfig(prompts=["a"]), placement=TWO)
    assert not ws.tasks.exists() and not ws.images.exists()
