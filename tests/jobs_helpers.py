"""What the tests of jobs share: workspaces, pictures to train on, jobs that nobody does, and waiting for things."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import light_jobs
import psutil
import pytest
from PIL import Image

from sdstudio import jobs
from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.jobs import kinds, queue
from sdstudio.jobs.folder import Identity
from sdstudio.jobs.transitions import change_state
from sdstudio.schema import ENDED, Job, LoopConfig, TrainConfig
from sdstudio.workspace import Workspace

WAIT = 240.0
"""Seconds after which something does not come any more, on however busy a machine."""


def empty_workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    return workspace


def install_light_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: str = "cpu:0,cpu:1") -> None:
    """Make 'generate' jobs such that only count, here and in every process that is started."""
    monkeypatch.setitem(kinds.KINDS, "generate", kinds.KINDS["generate"])
    light_jobs.install()
    for name, value in {**light_jobs.environment(tmp_path / "site"), "SDSTUDIO_DEVICES": devices}.items():
        monkeypatch.setenv(name, value)


def light_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: str = "cpu:0,cpu:1") -> Workspace:
    """A workspace on these devices whose 'generate' jobs only count."""
    install_light_jobs(tmp_path, monkeypatch, devices)
    return empty_workspace(tmp_path)


def let_nobody_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on jobs are begun but done by nobody, until `finish` says that they are."""
    monkeypatch.setattr(queue, "_start_supervisor", lambda *_: Identity.of(os.getpid()))


def finish(ws: Workspace, job: Job) -> Job:
    change_state(job.folder, state="succeeded", ended=time.time(), message="done")
    return jobs.get_job(ws, job.id)


def finish_all(ws: Workspace) -> None:
    """The newest first, lest one that waits is begun."""
    for job in jobs.list_jobs(ws):
        finish(ws, job)


def stop_all(ws: Workspace) -> None:
    for job in jobs.list_jobs(ws):
        if job.state not in ENDED:
            jobs.stop_job(ws, job.id, now=True)
    for job in jobs.list_jobs(ws):
        jobs.wait(ws, job.id, WAIT)


def until(holds: Callable[[], object], seconds: float = WAIT, why: Callable[[], object] = lambda: "") -> None:
    """Wait for `holds`; `why` tells more when it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def processes_of(ws: Workspace, having: str = "", lacking: str = "no such word") -> list[psutil.Process]:
    """The living processes that work for this workspace, whoever started them, by a word of their command."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        matches = str(ws.root) in line and having in line and lacking not in line
        if matches and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def plain_pictures(ws: Workspace, count: int, captioned: bool = True, name: str = "set") -> DatasetStore:
    """A dataset of `count` plain pictures of different colours."""
    store = create_dataset(ws, name)
    for index in range(count):
        data = io.BytesIO()
        Image.new("RGB", (64, 64), (37 * index % 256, index // 256, 120)).save(data, "PNG")
        caption = f"asim. a plain picture, number {index}" if captioned else ""
        store.add(data.getvalue(), f"{index}.png", caption)
    return store


def small_lora(steps: int, **loop: object) -> TrainConfig:
    """Training of the starter on the dataset of `plain_pictures`, without samples on its way."""
    settings = {"batch_size": 1, "sample_every": 0, "checkpoint_every": 1000, "seed": 3, **loop}
    return TrainConfig(
        dataset="set", method="lora", method_options={"rank": 2}, loop=LoopConfig(steps=steps, **settings)
    )
