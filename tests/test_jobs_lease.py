"""A device has one holder, who is known by name, hears that somebody waits, and is forgotten when it dies.

pytest tests/test_jobs_lease.py
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import light_jobs
import pytest
from jobs_helpers import finish_all, let_nobody_work, light_workspace, stop_all, until

from sdstudio import jobs
from sdstudio.jobs.locks import Lease, busy_text, holder
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace

DEVICE = "cuda:0"
WAIT = 60.0
GENERATING = """
import pathlib, sys, time
from sdstudio.jobs.locks import Lease
from sdstudio.workspace import Workspace
with Lease(Workspace(pathlib.Path(sys.argv[1])), ["cuda:0"], "interactive generation") as lease:
    print("holds", flush=True)
    while not lease.wanted():
        time.sleep(0.02)
    print("lets go", flush=True)
"""


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def other(ws: Workspace) -> Iterator["subprocess.Popen[str]"]:
    """Another process that generates on the device, and lets go of it once somebody wants it."""
    command = [sys.executable, "-c", GENERATING, str(ws.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.wait(WAIT)


def patience() -> object:
    deadline = time.monotonic() + WAIT
    return lambda: time.monotonic() < deadline


def test_who_holds_a_device_is_known_and_hears_that_a_job_waits(ws: Workspace, other: "subprocess.Popen[str]") -> None:
    found = holder(ws, DEVICE)
    assert found is not None
    assert (found.what, found.job, found.process.pid) == ("interactive generation", "", other.pid)
    assert abs(found.since - time.time()) < WAIT
    job = Lease(ws, [DEVICE], "the job asim", job="asim-1")
    assert not job.acquire()  # to ask once is not to wait: it keeps the device
    assert busy_text(ws, [DEVICE]) == "cuda:0 is used by interactive generation"
    time.sleep(0.3)
    assert other.poll() is None
    assert job.acquire(patience())
    assert other.wait(WAIT) == 0
    assert other.stdout.read() == "lets go\n"
    assert holder(ws, DEVICE).job == "asim-1"
    assert not job.wanted()
    job.release()
    assert holder(ws, DEVICE) is None


def test_a_holder_that_was_killed_is_forgotten_at_once(ws: Workspace, other: "subprocess.Popen[str]") -> None:
    other.kill()
    other.wait(WAIT)
    assert holder(ws, DEVICE) is None
    with Lease(ws, [DEVICE], "the job asim") as lease:
        assert holder(ws, DEVICE).what == "the job asim"
        with (
            pytest.raises(UserError, match="cuda:0 is used by the job asim; try again"),
            Lease(ws, [DEVICE], "another"),
        ):
            pass
        assert holder(ws, DEVICE).what == "the job asim"
    assert not lease.wanted()


def test_several_devices_are_taken_all_or_none(ws: Workspace) -> None:
    with Lease(ws, ["cuda:1"], "the job one"):
        both = Lease(ws, ["cuda:1", "cuda:0"], "the job two")
        assert not both.acquire()
        assert holder(ws, "cuda:0") is None
    assert both.acquire()
    assert {holder(ws, device).what for device in both.devices} == {"the job two"}
    both.release()
    both.release()


def test_two_who_want_the_same_two_devices_never_wait_for_each_other(ws: Workspace) -> None:
    turns: list[str] = []

    def work(name: str, devices: list[str]) -> None:
        for _ in range(5):
            lease = Lease(ws, devices, name)
            assert lease.acquire(patience())
            turns.append(name)
            lease.release()

    orders = {"one": ["cuda:0", "cuda:1"], "two": ["cuda:1", "cuda:0"]}
    threads = [threading.Thread(target=work, args=item) for item in orders.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert sorted(turns) == ["one"] * 5 + ["two"] * 5


def test_a_lease_is_given_back_by_another_thread_than_took_it(ws: Workspace) -> None:
    lease = Lease(ws, [DEVICE], "interactive generation")
    thread = threading.Thread(target=lease.acquire)
    thread.start()
    thread.join(WAIT)
    assert holder(ws, DEVICE).what == "interactive generation"
    lease.release()
    assert Lease(ws, [DEVICE], "the job asim").acquire()


def test_a_job_waits_for_interactive_generation_which_hears_of_it_and_comes_back(tmp_path: Path, monkeypatch) -> None:
    ws = light_workspace(tmp_path, monkeypatch, devices="cpu")
    interactive = Lease(ws, ["cpu"], "interactive generation")
    assert interactive.acquire()
    try:
        job = light_jobs.submit(ws, 200)
        until(interactive.wanted, WAIT)
        until(lambda: jobs.get_job(ws, job.id).message == "waits: cpu is used by interactive generation", WAIT)
        assert jobs.get_job(ws, job.id).state == "starting" and light_jobs.starts(job) == 0
        interactive.release()
        until(lambda: light_jobs.starts(job) == 1, WAIT)
        assert not interactive.acquire()
        assert busy_text(ws, ["cpu"]) == "cpu is used by the job light"
        jobs.stop_job(ws, job.id)
        assert interactive.acquire(patience())
        assert not interactive.wanted()
        assert jobs.get_job(ws, job.id).state == "cancelled"
    finally:
        interactive.release()
        stop_all(ws)


def test_a_device_that_is_used_interactively_is_the_last_to_be_given_a_job(tmp_path: Path, monkeypatch) -> None:
    ws = light_workspace(tmp_path, monkeypatch)
    let_nobody_work(monkeypatch)
    with Lease(ws, ["cpu:0"], "interactive generation"):
        assert [light_jobs.submit(ws, 1).device for _ in range(3)] == ["cpu:1", "cpu:0", ""]
    finish_all(ws)
