"""Each way in which a job ends before its time is told by its cause, with what was kept and what to try.

pytest tests/test_jobs_failures.py
"""

import errno
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from canary import assert_nowhere
from jobs_helpers import empty_workspace, plain_pictures

from sdstudio import jobs
from sdstudio.jobs import failures
from sdstudio.jobs.failures import explain, explain_end
from sdstudio.jobs.folder import Identity, State, write_state
from sdstudio.jobs.reading import read_job
from sdstudio.schema import CaptionConfig, ImportConfig, UserError
from sdstudio.workspace import write_json

CUDA = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.68 GiB of which 1.21 GiB is free."
)
ME = Identity.of(psutil.Process().pid)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a job that has kept a checkpoint."""
    folder = tmp_path / "runs" / "asim-1"
    (folder / "checkpoints" / "step-000200").mkdir(parents=True)
    write_json(folder / "config.json", {"loop": {"batch_size": 8}})
    write_json(folder / "progress.json", {"done": 230, "total": 600, "unit": "steps"})
    return folder


def raised(function, *arguments) -> BaseException:
    with pytest.raises(BaseException) as found:
        function(*arguments)
    return found.value


def safetensors_error() -> BaseException:
    from safetensors import SafetensorError

    return SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def wrapped(error: BaseException) -> BaseException:
    try:
        raise RuntimeError("a worker failed") from error
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "happened", "advice"),
    [
        (
            torch.OutOfMemoryError(CUDA),
            "The GPU ran out of memory (it asked for 2.00 GiB more of 23.68 GiB)",
            "than 8",
        ),
        (wrapped(torch.OutOfMemoryError(CUDA)), "The GPU ran out of memory", "a batch smaller than 8"),
        (MemoryError(), "This machine ran out of memory.", "a batch smaller than 8"),
        (raised(np.ones, (2**48,)), "This machine ran out of memory.", "a batch smaller than 8"),
        (raised(torch.empty, 2**48), "This machine ran out of memory.", "a batch smaller than 8"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full.", "Free some space first."),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "The disk is full.", "Free some space first."),
        (sqlite3.OperationalError("database or disk is full"), "The disk is full.", "Free some space first."),
        (safetensors_error(), "The disk is full.", "Free some space first."),
        (UserError("The loss was not a number at step 231: lower it."), "The loss was not a number at step 231", ""),
        (KeyError("unet"), "It failed on something unforeseen (KeyError: 'unet').", "traceback.txt"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_exception_becomes_what_happened_what_was_kept_and_what_to_try(
    folder: Path, error: BaseException, happened: str, advice: str
) -> None:
    said = explain(error, folder)
    assert said.startswith(happened)
    assert "Its checkpoint step-000200 is kept. `sdstudio jobs resume asim-1` goes on with it." in said
    assert said.endswith(advice) or advice in said
    assert "\n" not in said


def test_a_mistake_before_anything_was_made_is_said_alone(tmp_path: Path) -> None:
    assert explain(UserError("There is no such model."), tmp_path) == "There is no such model."


def test_without_a_checkpoint_the_progress_is_what_was_kept(folder: Path) -> None:
    (folder / "checkpoints" / "step-000200").rmdir()
    assert "What it had done is kept (230 of 600 steps)." in explain(MemoryError(), folder)


def state(**changes: object) -> State:
    return replace(State(kind="train", title="asim", created=1.0, state="running", supervisor=ME, worker=ME), **changes)


@pytest.mark.parametrize(
    ("exit_code", "happened"),
    [(3, "Its process ended with code 3"), (-9, "It was killed (signal 9)"), (-11, "It was killed (signal 11)"),
     (None, "Its process is gone")],
)  # fmt: skip
def test_an_end_without_a_word_is_told_by_its_code(folder: Path, exit_code: int | None, happened: str) -> None:
    said = explain_end(state(), folder, exit_code)
    assert said.startswith(happened) and "step-000200 is kept" in said


def test_a_restart_of_the_machine_is_told_by_its_boot_time(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(psutil, "boot_time", lambda: ME.create_time + 3600)
    assert explain_end(state(), folder, None).startswith("The machine restarted while it ran.")


def test_the_systems_count_of_kills_for_lack_of_memory_tells_one(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(failures, "oom_kills", lambda: 3)
    assert explain_end(state(oom_kills=3), folder, -9).startswith("It was killed (signal 9)")
    said = explain_end(state(oom_kills=2), folder, -9)
    assert said.startswith("This machine ran out of memory while it ran") and "smaller than 8" in said
    assert explain_end(state(oom_kills=2), folder, -11).startswith("It was killed (signal 11)")


def test_the_systems_count_is_read() -> None:
    counted = failures.oom_kills()
    assert counted is None or counted >= 0


def test_a_full_disk_is_said_though_nothing_could_be_written_down(folder: Path, monkeypatch) -> None:
    dead = Identity(pid=ME.pid, create_time=ME.create_time - 100)
    write_state(folder, state(supervisor=dead, worker=dead))
    usage = type("Usage", (), {"free": 4096})
    monkeypatch.setattr(failures.shutil, "disk_usage", lambda path: usage)
    job = read_job(folder)
    assert job.state == "interrupted"
    assert "the disk is full" in job.error and "step-000200 is kept" in job.error


def test_a_job_that_could_use_nothing_claims_to_have_kept_nothing(tmp_path: Path) -> None:
    ws = empty_workspace(tmp_path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        (pictures / f"{index}.png").write_bytes(b"no picture")
    with pytest.raises(UserError):
        jobs.run_inline(ws, "import", ImportConfig(dataset="set", folder=str(pictures)), echo=False)
    store = plain_pictures(ws, 3)
    for image in store.images():
        store.image_path(image.id).write_bytes(b"not a picture any more")
    with pytest.raises(UserError):
        jobs.run_inline(ws, "caption", CaptionConfig(dataset="set", only_empty=False), echo=False)
    for job in jobs.list_jobs(ws):
        assert (job.state, job.done) == ("failed", 0)
        assert "is kept" not in job.error and "jobs resume" not in job.error


def test_an_error_that_quotes_a_token_does_not_give_it_away(tmp_path: Path, monkeypatch, capfd) -> None:
    token = "hf_canary_quoted_77d1"
    monkeypatch.setenv("HF_TOKEN", token)

    def run(*_: object) -> bool:
        raise RuntimeError(f"401 for Bearer {token}")

    monkeypatch.setattr("sdstudio.datasets.importer.run_import", run)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    ws = empty_workspace(tmp_path)
    config = ImportConfig(dataset="set", folder=str(tmp_path / "pictures"))
    job = jobs.run_inline(ws, "import", config, echo=False)
    assert job.state == "failed" and "401 for Bearer [HF_TOKEN]" in job.error
    assert_nowhere(token, tmp_path)
    assert token not in "".join(capfd.readouterr())
