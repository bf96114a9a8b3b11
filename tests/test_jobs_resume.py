"""A job that was stopped goes on from what it kept; whether it finished is what its function says, not a count."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs_helpers import WAIT, empty_workspace, plain_pictures, small_lora, until
from safetensors.torch import load_file

from sdstudio import cli, jobs
from sdstudio.datasets import open_dataset
from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.jobs.devices import compute_devices
from sdstudio.jobs.kinds import Kind
from sdstudio.jobs.locks import device_lock
from sdstudio.models import latest_checkpoint
from sdstudio.schema import CaptionConfig, Job, UserError
from sdstudio.workspace import ENV_VAR, Workspace


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    workspace = empty_workspace(tmp_path)
    monkeypatch.setenv(ENV_VAR, str(workspace.root))
    monkeypatch.setattr(cli, "install_starter", lambda ws: None)
    plain_pictures(workspace, 4)
    return workspace


def stop_after(monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    """Ask the next job of this process to stop once it has said that `done` are done, or a run's numbers say so."""
    progress, metrics = JobContext.progress, JobContext.metrics

    def stopping(self: JobContext, now: int, total: int, unit: str = "", message: str = "") -> None:
        progress(self, now, total, unit, message)
        if now >= done:
            (self.folder / STOP_FILE).touch()

    def measured(self: JobContext, **numbers: float) -> None:
        metrics(self, **numbers)
        if numbers["step"] >= done:
            (self.folder / STOP_FILE).touch()

    monkeypatch.setattr(JobContext, "progress", stopping)
    monkeypatch.setattr(JobContext, "metrics", measured)


def stopped(ws: Workspace, monkeypatch: pytest.MonkeyPatch, done: int, kind: str, config: object) -> Job:
    with monkeypatch.context() as patch:
        stop_after(patch, done)
        job = jobs.run_inline(ws, kind, config, echo=False)
    assert (job.state, job.done) == ("cancelled", done)
    assert f"`sdstudio jobs resume {job.id}`" in job.message
    return job


def numbers(job: Job) -> list[tuple[int, float, float]]:
    return [(row["step"], row["loss"], row["lr"]) for row in jobs.read_metrics(job)]


def test_a_stopped_training_run_resumed_through_the_queue_equals_an_unbroken_one(ws: Workspace, monkeypatch) -> None:
    config = small_lora(4, batch_size=2)
    whole = jobs.run_inline(ws, "train", config, echo=False)
    assert "Step 2 of 4: loss " in jobs.read_log(whole)
    half = stopped(ws, monkeypatch, 2, "train", config)
    assert [row[0] for row in numbers(half)] == [1, 2]
    resumed = jobs.wait(ws, jobs.resume_job(ws, half.id).id, WAIT)
    assert (resumed.state, resumed.error, resumed.done) == ("succeeded", "", 4), jobs.read_log(resumed)
    assert numbers(resumed) == numbers(whole)
    one, other = (load_weights(job) for job in (whole, resumed))
    assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)
    with pytest.raises(UserError, match="has succeeded"):
        jobs.resume_job(ws, half.id)


def load_weights(job: Job) -> dict:
    checkpoint = latest_checkpoint(job.folder)
    assert checkpoint is not None and checkpoint.name.endswith("4")
    files = [file for file in checkpoint.glob("*.safetensors") if not file.name.startswith("state")]
    assert files
    return {f"{file.name} {name}": value for file in files for name, value in load_file(file).items()}


def test_a_stopped_caption_job_is_resumed_by_the_command(ws: Workspace, monkeypatch, capsys) -> None:
    config = CaptionConfig(dataset="set", only_empty=False, options={"batch_size": 1})
    job = stopped(ws, monkeypatch, 1, "caption", config)
    assert sum(bool(image.machine_caption) for image in open_dataset(ws, "set").images()) == 1
    assert cli.main(["jobs", "resume", job.id, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["id"], again["state"], again["report"]["stopped"]) == (job.id, "succeeded", False)
    assert all(image.machine_caption for image in open_dataset(ws, "set").images())
    assert cli.main(["jobs", "resume", job.id]) == 2
    assert "has succeeded" in capsys.readouterr().err


def test_a_log_holds_what_the_job_says_and_nothing_else(ws: Workspace) -> None:
    job = jobs.submit(ws, "caption", CaptionConfig(dataset="set", only_empty=False))
    log = jobs.read_log(jobs.wait(ws, job.id, WAIT))
    assert [line[10:] for line in log.splitlines()] == ["4 drafted, 0 kept beside a person's, 0 unreadable"], log


def test_a_live_job_is_not_resumed_and_one_taken_out_of_the_queue_is(ws: Workspace) -> None:
    with device_lock(ws, compute_devices()[0]):
        job = jobs.submit(ws, "caption", CaptionConfig(dataset="set"))
        with pytest.raises(UserError, match="only one that has ended"):
            jobs.resume_job(ws, job.id)
        second = jobs.submit(ws, "caption", CaptionConfig(dataset="set"))
        assert "jobs resume" in jobs.stop_job(ws, second.id).message
        assert jobs.resume_job(ws, second.id).state == "queued"
        until(lambda: "waits: " in jobs.get_job(ws, job.id).message)
        for queued in (second, job):
            jobs.stop_job(ws, queued.id, now=True)
    assert jobs.wait(ws, job.id, WAIT).state == "cancelled"
    assert jobs.read_log(job).count("waits: ") == 1


@pytest.mark.parametrize(("finished", "state"), [(True, "succeeded"), (False, "cancelled")])
def test_what_the_function_says_decides_when_a_stop_meets_the_last_unit(
    ws: Workspace, monkeypatch, finished: bool, state: str
) -> None:
    def at_the_end(config: CaptionConfig, context: JobContext) -> bool:
        context.progress(4, 4, "pictures")
        (context.folder / STOP_FILE).touch()
        return finished

    def load(self: Kind, bulk: bool) -> Callable[[CaptionConfig, JobContext], bool]:
        return at_the_end

    monkeypatch.setattr(Kind, "load", load)
    assert jobs.run_inline(ws, "caption", CaptionConfig(dataset="set"), echo=False).state == state
