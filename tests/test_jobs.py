"""Jobs as real processes: their states stay true whoever is killed, and one device does one job at a time.

pytest tests/test_jobs.py
"""

import itertools
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import light_jobs
import psutil
import pytest
from jobs_helpers import WAIT, light_workspace, stop_all
from PIL import Image

from sdstudio import jobs
from sdstudio.jobs import folder, queue, supervisor
from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.jobs.locks import device_lock
from sdstudio.schema import ENDED, CaptionConfig, ImportConfig, Job, UserError
from sdstudio.workspace import Workspace, read_json

DEVICE = "cpu"
LONG = 4000
"""Ticks of a job that ends before its time: minutes of them."""


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    workspace = light_workspace(tmp_path, monkeypatch, DEVICE)
    yield workspace
    stop_all(workspace)


def draw(target: Path, count: int, start: int = 0) -> Path:
    """`count` distinct small pictures in the folder `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for index in range(start, start + count):
        Image.new("RGB", (32, 32), (index % 256, index // 256, 90)).save(target / f"{index:05}.png")
    return target


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("few"), 3)


def start_import(ws: Workspace, pictures: Path, dataset: str = "photos") -> Job:
    return jobs.submit(ws, "import", ImportConfig(dataset=dataset, folder=str(pictures)))


def until(ws: Workspace, job: Job, condition: Callable[[Job], bool]) -> Job:
    """The job once `condition` holds for it."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        now = jobs.get_job(ws, job.id)
        if condition(now):
            return now
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {now}\n{jobs.read_log(now)}")


def process(job: Job, role: str) -> psutil.Process:
    identity = getattr(folder.read_state(job.folder), role)
    found = identity and identity.process()
    assert found, f"the {role} of {job.id} does not live"
    return found


def kill(job: Job, *roles: str) -> None:
    victims = [process(job, role) for role in roles]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=10)


def is_working(job: Job) -> bool:
    return job.state == "running" and job.done > 0


def test_a_job_does_its_work_and_says_so(ws: Workspace, few: Path) -> None:
    job = jobs.wait(ws, start_import(ws, few).id, WAIT)
    assert (job.state, job.error) == ("succeeded", "")
    assert (job.done, job.total) == (3, 3)
    assert job.started and job.ended and job.created <= job.started <= job.ended
    assert read_json(job.folder / "report.json")["added"] == 3
    assert "3 added" in jobs.read_log(job)
    assert job.folder == ws.tasks / job.id
    assert [listed.id for listed in jobs.list_jobs(ws, "import")] == [job.id]
    assert jobs.list_jobs(ws, "train") == []


def test_the_foreground_job_ends_as_the_queued_one(ws: Workspace, few: Path) -> None:
    job = jobs.run_inline(ws, "import", ImportConfig(dataset="photos", folder=str(few)), echo=False)
    assert (job.state, job.done, job.total) == ("succeeded", 3, 3)
    assert "3 added" in jobs.read_log(job)


def test_what_cannot_succeed_is_refused_and_leaves_nothing(ws: Workspace, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = [
        ("import", ImportConfig(dataset="photos", folder=str(empty)), "empty"),
        ("import", ImportConfig(dataset="photos", folder=str(tmp_path / "none")), "no folder"),
        ("import", ImportConfig(dataset="../up", folder=str(empty)), "not a usable dataset name"),
        ("caption", CaptionConfig(dataset="nowhere"), "no dataset 'nowhere'"),
        ("dance", CaptionConfig(), "no kind of job"),
    ]
    for kind, config, message in wrong:
        with pytest.raises(UserError, match=message):
            jobs.submit(ws, kind, config)
        with pytest.raises(UserError, match=message):
            jobs.run_inline(ws, kind, config)
    assert list(ws.root.rglob("*")) == []


def test_a_failure_is_one_sentence_with_its_traceback_in_a_file(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.png").write_text("this is not a picture")
    job = jobs.wait(ws, start_import(ws, tmp_path / "texts").id, WAIT)
    assert job.state == "failed"
    assert "no usable picture" in job.error and "Traceback" not in job.error
    assert "Traceback" in (job.folder / folder.read_state(job.folder).traceback).read_text()
    with pytest.raises(UserError, match="no usable picture"):
        jobs.run_inline(ws, "import", ImportConfig(dataset="photos", folder=str(tmp_path / "texts")))


def test_stop_keeps_what_was_done_and_says_what(ws: Workspace) -> None:
    job = until(ws, light_jobs.submit(ws, LONG), is_working)
    jobs.stop_job(ws, job.id)
    job = jobs.wait(ws, job.id, WAIT)
    assert job.state == "cancelled"
    assert 0 < job.done < LONG
    assert f"{job.done} of {LONG}" in job.message
    assert jobs.stop_job(ws, job.id).state == "cancelled"


def test_a_queued_job_is_taken_out(ws: Workspace) -> None:
    first, second = light_jobs.submit(ws, LONG), light_jobs.submit(ws, 1, "second")
    assert jobs.get_job(ws, second.id).state == "queued"
    assert jobs.stop_job(ws, second.id).state == "cancelled"
    assert jobs.stop_job(ws, first.id, now=True).state in ("stopping", "cancelled")
    assert jobs.wait(ws, first.id, WAIT).state == "cancelled"
    assert light_jobs.starts(second) == 0


def test_a_worker_that_ignores_stop_and_terminate_is_killed(ws: Workspace, monkeypatch) -> None:
    """A suspended process can answer neither; this test itself is the supervisor, with little patience."""
    monkeypatch.setattr(queue, "_start_supervisor", lambda *_: folder.Identity.of(os.getpid()))
    job = light_jobs.submit(ws, LONG)
    state = folder.read_state(job.folder)
    worker = supervisor._start(job.folder, state, {}).process
    until(ws, job, is_working)
    worker.suspend()
    (job.folder / STOP_FILE).touch()
    assert jobs.get_job(ws, job.id).state == "stopping"
    began = time.monotonic()
    supervisor.supervise(job.folder, grace=0.5, patience=0.5)
    assert 1.0 <= time.monotonic() - began < 10
    assert not worker.is_running()
    job = jobs.get_job(ws, job.id)
    assert job.state == "cancelled"
    assert "before it could save" in job.message


def test_a_killed_worker_is_interrupted_and_the_queue_moves_on(ws: Workspace) -> None:
    first, second = light_jobs.submit(ws, LONG), light_jobs.submit(ws, 1, "second")
    kill(until(ws, first, is_working), "worker")
    first = until(ws, first, lambda job: job.state in ENDED)
    assert first.state == "interrupted"
    assert "killed (signal 9)" in first.error and "is kept" in first.error
    assert folder.read_state(first.folder).exit_code == -signal.SIGKILL
    assert until(ws, second, lambda job: job.state in ENDED).state == "succeeded"


def test_a_killed_supervisor_is_replaced_and_the_job_goes_on(ws: Workspace) -> None:
    job = until(ws, light_jobs.submit(ws, LONG), is_working)
    worker = process(job, "worker")
    kill(job, "supervisor")
    assert jobs.get_job(ws, job.id).state == "running"
    jobs.tick(ws)
    assert process(job, "supervisor").is_running()
    assert process(job, "worker") == worker
    jobs.stop_job(ws, job.id)
    assert jobs.wait(ws, job.id, WAIT).state == "cancelled"


def test_when_all_its_processes_are_killed_the_state_is_right_at_once(ws: Workspace) -> None:
    first, second = light_jobs.submit(ws, LONG), light_jobs.submit(ws, 1, "second")
    kill(until(ws, first, is_working), "supervisor", "worker")
    first = jobs.get_job(ws, first.id)
    assert first.state == "interrupted"
    assert first.ended and abs(first.ended - time.time()) < 30
    assert read_json(first.folder / "state.json")["state"] == "running"
    jobs.tick(ws)
    assert read_json(first.folder / "state.json")["state"] == "interrupted"
    assert jobs.wait(ws, second.id, WAIT).state == "succeeded"


def test_random_kills_lose_no_job_and_start_none_twice(ws: Workspace) -> None:
    submitted = [light_jobs.submit(ws, 2, f"set-{index}") for index in range(6)]
    for index, job in enumerate(submitted):
        until(ws, job, lambda job: job.state != "queued")
        time.sleep(0.05 * index)
        state = folder.read_state(job.folder)
        for identity in (state.supervisor, state.worker)[:: 1 if index % 2 else -1][:1]:
            if identity and identity.process():
                psutil.Process(identity.pid).kill()
        until(ws, job, lambda job: (jobs.tick(ws), job.state in ENDED)[1])
    ended = {job.id: job for job in jobs.list_jobs(ws)}
    assert set(ended) == {job.id for job in submitted}
    assert {job.state for job in ended.values()} <= {"succeeded", "interrupted"}
    for job in ended.values():
        assert light_jobs.starts(job) <= 1
        assert light_jobs.starts(job) == 1 or job.state == "interrupted"
    alive = [
        found for found in psutil.process_iter(["cmdline"]) if str(ws.root) in " ".join(found.info["cmdline"] or [])
    ]
    psutil.wait_procs(alive, timeout=10)
    assert not [found for found in alive if found.is_running() and found.status() != psutil.STATUS_ZOMBIE]


def test_one_device_does_one_job_at_a_time_in_order(ws: Workspace) -> None:
    submitted = [light_jobs.submit(ws, 2, f"set-{index}") for index in range(4)]
    ended = [jobs.wait(ws, job.id, WAIT) for job in submitted]
    assert [job.state for job in ended] == ["succeeded"] * 4
    for before, after in itertools.pairwise(ended):
        assert before.ended <= after.started


def test_a_device_held_by_another_is_waited_for(ws: Workspace) -> None:
    lock = device_lock(ws, DEVICE)
    with lock:
        job = until(ws, light_jobs.submit(ws, 1), lambda job: "waits: cpu is used by" in job.message)
        assert job.state == "starting"
        stopped = until(ws, light_jobs.submit(ws, 1, "other"), lambda job: job.state == "queued")
    assert jobs.wait(ws, job.id, WAIT).state == "succeeded"
    with lock:
        stopped = until(ws, stopped, lambda job: job.state == "starting")
        jobs.stop_job(ws, stopped.id)
        stopped = jobs.wait(ws, stopped.id, WAIT)
    assert (stopped.state, stopped.message) == ("cancelled", "Stopped before it began.")


def test_jobs_outlive_the_database(ws: Workspace) -> None:
    first, second = light_jobs.submit(ws, LONG), light_jobs.submit(ws, 1, "second")
    until(ws, first, is_working)
    ws.database.unlink()
    assert {job.id: job.state for job in jobs.list_jobs(ws)} == {first.id: "running", second.id: "queued"}
    jobs.stop_job(ws, first.id)
    assert jobs.wait(ws, second.id, WAIT).state == "succeeded"
    with sqlite3.connect(ws.database) as database:
        assert database.execute("SELECT count(*) FROM queue").fetchone() == (0,)


def test_a_deleted_folder_does_not_stop_the_queue(ws: Workspace) -> None:
    with device_lock(ws, DEVICE):
        first = light_jobs.submit(ws, 1)
        second = light_jobs.submit(ws, 1, "second")
        for file in second.folder.iterdir():
            file.unlink()
        second.folder.rmdir()
        third = light_jobs.submit(ws, 1, "third")
    assert jobs.wait(ws, first.id, WAIT).state == "succeeded"
    assert jobs.wait(ws, third.id, WAIT).state == "succeeded"
    with pytest.raises(UserError, match="no job"):
        jobs.get_job(ws, second.id)


def test_a_damaged_job_does_not_hide_the_others(ws: Workspace) -> None:
    with device_lock(ws, DEVICE):
        first, second = light_jobs.submit(ws, 1), light_jobs.submit(ws, 1, "second")
        (second.folder / "state.json").write_text("{")
        assert [job.id for job in jobs.list_jobs(ws)] == [first.id]
    assert jobs.wait(ws, first.id, WAIT).state == "succeeded"
    with pytest.raises(UserError, match="not valid JSON"):
        jobs.get_job(ws, second.id)


def test_a_queue_that_cannot_be_written_is_said(ws: Workspace) -> None:
    ws.database.unlink(missing_ok=True)
    ws.database.mkdir()
    with pytest.raises(UserError, match="cannot be used"):
        jobs.list_jobs(ws)
    ws.database.rmdir()


def test_a_pid_used_again_is_another_process() -> None:
    me = folder.Identity.of(os.getpid())
    assert me.process() is not None and me.is_this_process()
    assert not folder.Identity.of(os.getppid()).is_this_process()
    assert folder.Identity(pid=me.pid, create_time=me.create_time - 100).process() is None


def test_a_zombie_is_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    identity = folder.Identity.of(child)
    while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert psutil.pid_exists(child)
    assert identity.process() is None
    os.waitpid(child, 0)


def test_metrics_leave_out_a_line_still_being_written(ws: Workspace, few: Path) -> None:
    job = jobs.run_inline(ws, "import", ImportConfig(dataset="photos", folder=str(few)), echo=False)
    assert jobs.read_metrics(job) == []
    JobContext(ws, job.folder).metrics(step=1, loss=0.5)
    with (job.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    assert [(row["step"], row["loss"]) for row in jobs.read_metrics(job)] == [(1, 0.5)]
