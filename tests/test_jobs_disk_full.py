"""A disk that becomes full under a job: what it had kept survives, and it says what happened.

pytest tests/test_jobs_disk_full.py            # a job that only counts, in its own processes
pytest tests/test_jobs_disk_full.py -m slow -s # twenty moments of real training, and prints how each run ended
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import light_jobs
import pytest
from jobs_helpers import install_light_jobs, plain_pictures, small_lora

from sdstudio import jobs
from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.models import latest_checkpoint
from sdstudio.schema import Job, UserError
from sdstudio.workspace import Workspace

SIZE = 48 * 2**20
STEPS = 8
GOOD = 2
"""The step whose checkpoint is there before the disk becomes full."""
MOMENTS = [(step, room) for step in (3, 4, 5, 6, 7) for room in (0, 4_096, 65_536, 1_000_000)]
"""When the disk is filled, and the bytes that stay free then; a checkpoint takes about half a million."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    point = tmp_path / "disk"
    point.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(point)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("A small disk cannot be mounted here: that takes Linux and the right to mount.")
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)


@pytest.fixture
def started(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, Job]:
    """A run that was stopped after its second step, with a checkpoint of it."""
    ws = Workspace(disk / "workspace")
    ws.root.mkdir()
    plain_pictures(ws, 4)
    config = small_lora(STEPS, checkpoint_every=1)
    with monkeypatch.context() as patch:
        at_step(patch, GOOD, lambda folder: (folder / STOP_FILE).touch())
        job = jobs.run_inline(ws, "train", config, echo=False)
    assert newest(job) == f"step-{GOOD:06d}"
    return ws, job


def at_step(patch: pytest.MonkeyPatch, step: int, act: Callable[[Path], None]) -> None:
    """Do something with the job's folder as soon as it has told the loss of a step."""
    metrics = JobContext.metrics

    def acting(self: JobContext, **numbers: Any) -> None:
        metrics(self, **numbers)
        if numbers["step"] == step and "loss" in numbers:
            act(self.folder)

    patch.setattr(JobContext, "metrics", acting)


def fill(disk: Path, room: int) -> None:
    """Take all of the disk but about `room` bytes."""
    with (disk / "filler").open("wb") as file:
        file.write(bytes(max(shutil.disk_usage(disk).free - room, 0)))


def newest(job: Job) -> str:
    """The newest checkpoint whose every byte is as it was written; empty when there is none."""
    folder = latest_checkpoint(job.folder)
    return folder.name if folder else ""


def survive(started: tuple[Workspace, Job], disk: Path, monkeypatch, step: int, room: int) -> None:
    """Fill the disk at a step of the resumed run, hear what it says, make room, and see it through."""
    ws, job = started
    with monkeypatch.context() as patch:
        at_step(patch, step, lambda folder: fill(disk, room))
        with contextlib.suppress(UserError, OSError):
            jobs.resume_inline(ws, job.id, echo=False)
    (ended,) = jobs.list_jobs(ws)
    print(f"\nstep {step}, {room:>7} bytes free: {ended.state}, {newest(ended)}: {ended.error}")
    assert ended.state in ("failed", "interrupted")
    assert newest(ended) >= f"step-{step - 1:06d}"
    assert f"checkpoint {newest(ended)} is kept" in ended.error
    assert "full" in ended.error and "ree some space" in ended.error and f"jobs resume {job.id}" in ended.error
    (disk / "filler").unlink()
    assert jobs.resume_inline(ws, job.id, echo=False).state == "succeeded"
    assert [row["step"] for row in jobs.read_metrics(job)] == list(range(1, STEPS + 1))


def test_a_full_disk_ends_a_job_in_words_and_hides_no_other(disk: Path, tmp_path: Path, monkeypatch) -> None:
    install_light_jobs(tmp_path, monkeypatch)
    ws = Workspace(disk / "workspace")
    ws.root.mkdir()
    job = light_jobs.submit(ws, ticks=100_000)
    while jobs.get_job(ws, job.id).done < 3:
        time.sleep(0.05)
    fill(disk, room=0)
    job = jobs.wait(ws, job.id, 60)
    assert job.state == "failed", jobs.read_log(job)
    assert job.error.startswith("The disk is full. What it had done is kept")
    assert [listed.id for listed in jobs.list_jobs(ws)] == [job.id]
    fill(disk, room=0)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        light_jobs.submit(ws, ticks=1)
    (disk / "filler").unlink()
    assert jobs.wait(ws, light_jobs.submit(ws, ticks=1).id, 60).state == "succeeded"


@pytest.mark.slow
def test_a_disk_full_at_twenty_moments(started: tuple[Workspace, Job], disk: Path, tmp_path: Path, monkeypatch) -> None:
    _, job = started
    as_stopped = shutil.copytree(job.folder, tmp_path / "as stopped")
    for step, room in MOMENTS:
        shutil.rmtree(job.folder)
        shutil.copytree(as_stopped, job.folder)
        survive(started, disk, monkeypatch, step, room)
