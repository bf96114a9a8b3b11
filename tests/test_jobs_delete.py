"""What is deleted can be brought back until the trash is emptied; what runs or is needed is not deleted.

pytest tests/test_jobs_delete.py
"""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import light_jobs
import pytest
from jobs_helpers import finish, finish_all, let_nobody_work, light_workspace

from sdstudio import jobs
from sdstudio.jobs.folder import read_state, write_state
from sdstudio.schema import ENDED, Job, UserError
from sdstudio.workspace import Workspace, write_json


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace with one device, whose jobs are begun but done by nobody, until `finish` says that they are."""
    workspace = light_workspace(tmp_path, monkeypatch, devices="cpu")
    let_nobody_work(monkeypatch)
    yield workspace
    finish_all(workspace)


def titles(found: list[Job]) -> list[str]:
    return [job.title for job in found]


def test_a_deleted_job_comes_back_with_its_files(ws: Workspace) -> None:
    job = finish(ws, light_jobs.submit(ws, 1, "mine"))
    (job.folder / "picture.png").write_bytes(b"pixels")
    deleted = jobs.delete_job(ws, job.id)
    assert not job.folder.exists()
    assert jobs.list_jobs(ws) == []
    assert abs(deleted.deleted - time.time()) < 60
    assert [(found.id, found.state, found.title) for found in jobs.trash(ws)] == [(job.id, "succeeded", "mine")]
    with pytest.raises(UserError, match="There is no job"):
        jobs.get_job(ws, job.id)
    assert jobs.restore_job(ws, job.id) == job
    assert (job.folder / "picture.png").read_bytes() == b"pixels"
    assert jobs.trash(ws) == []
    with pytest.raises(UserError, match="in the trash"):
        jobs.restore_job(ws, job.id)


def test_a_deleted_queued_job_never_runs_until_it_is_restored(ws: Workspace) -> None:
    first, second, third = (light_jobs.submit(ws, 1, title) for title in "abc")
    jobs.delete_job(ws, second.id)
    finish(ws, first)
    jobs.tick(ws)
    assert jobs.get_job(ws, third.id).state == "starting"
    assert jobs.restore_job(ws, second.id).position == 1
    finish(ws, third)
    jobs.tick(ws)
    assert jobs.get_job(ws, second.id).state == "starting"


def test_a_running_job_is_not_deleted(ws: Workspace) -> None:
    job = light_jobs.submit(ws, 1)
    with pytest.raises(UserError, match="stop it first"):
        jobs.delete_job(ws, job.id)
    assert job.folder.exists() and jobs.trash(ws) == []


def test_a_job_that_another_still_needs_is_not_deleted(ws: Workspace) -> None:
    needed, user = finish(ws, light_jobs.submit(ws, 1, "needed")), light_jobs.submit(ws, 1, "user")
    write_json(user.folder / "config.json", {"checkpoint": f"tasks/{needed.id}/checkpoints/step-000001"})
    with pytest.raises(UserError, match=f"{user.id} still needs the files of {needed.id}"):
        jobs.delete_job(ws, needed.id)
    finish(ws, user)
    jobs.delete_job(ws, needed.id)


def test_emptying_the_trash_frees_the_disk_for_good(ws: Workspace) -> None:
    made = [finish(ws, light_jobs.submit(ws, 1, title)) for title in "ab"]
    (made[0].folder / "weights").write_bytes(bytes(5000))
    for job in made:
        jobs.delete_job(ws, job.id)
        os.utime(ws.root / "trash" / "tasks" / job.id, (1, made.index(job)))
    assert titles(jobs.trash(ws)) == ["b", "a"]
    emptied = jobs.empty_trash(ws)
    assert emptied.folders == 2 and emptied.size > 5000
    assert jobs.trash(ws) == [] and not list((ws.root / "trash" / "tasks").iterdir())


def test_clean_removes_what_killed_processes_left_half_made_and_nothing_else(ws: Workspace) -> None:
    ended, live = finish(ws, light_jobs.submit(ws, 1, "ended")), light_jobs.submit(ws, 1, "live")
    for job in (ended, live):
        (job.folder / "checkpoints" / ".step-000002.writing").mkdir(parents=True)
        (job.folder / "checkpoints" / "step-000001").mkdir()
    old, new = ws.tasks / ".20200101-old", ws.tasks / ".20300101-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    os.utime(old, (1, 1))
    assert jobs.clean(ws).folders == 2
    assert not old.exists() and new.exists()
    assert sorted(path.name for path in (ended.folder / "checkpoints").iterdir()) == ["step-000001"]
    assert len(list((live.folder / "checkpoints").iterdir())) == 2
    assert titles(jobs.list_jobs(ws)) == ["live", "ended"]


def test_a_finished_job_is_read_from_its_folder_when_the_database_is_gone(ws: Workspace) -> None:
    job = light_jobs.submit(ws, 1, "mine")
    (job.folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    (job.folder / "log.txt").write_text("said\n")
    write_state(job.folder, replace(read_state(job.folder), state="succeeded", message="done", ended=job.created + 9))
    ws.database.unlink()
    found = jobs.list_jobs(ws)
    assert [(one.id, one.state, one.message, one.ended - one.created) for one in found] == [
        (job.id, "succeeded", "done", pytest.approx(9))
    ]
    assert jobs.read_metrics(found[0]) == [{"step": 1, "loss": 0.5}]
    assert jobs.read_log(found[0]) == "said\n"
    assert all(one.state in ENDED for one in found)
