"""Who runs where and in which order, on pretended devices.

pytest tests/test_jobs_queue.py
pytest tests/test_jobs_queue.py -m slow   # 20 jobs from 4 processes on 2 devices
"""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jobs_helpers
import light_jobs
import pytest
from jobs_helpers import WAIT, finish_all, let_nobody_work, light_workspace, stop_all

from sdstudio import jobs
from sdstudio.jobs.backends.settings import FILE
from sdstudio.jobs.context import JobContext
from sdstudio.jobs.devices import DEVICES_VAR, _gpus, compute_devices, device_environment
from sdstudio.jobs.folder import read_progress, read_state
from sdstudio.jobs.reading import pace
from sdstudio.schema import ENDED, GenerateConfig, ImportConfig, Job, Placement, UserError
from sdstudio.workspace import Workspace


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    workspace = light_workspace(tmp_path, monkeypatch)
    yield workspace
    stop_all(workspace)


@pytest.fixture
def still(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    let_nobody_work(monkeypatch)
    yield ws
    finish_all(ws)


def finish(ws: Workspace, job: Job) -> None:
    """The job has succeeded, and the queue moves on."""
    jobs_helpers.finish(ws, job)
    jobs.tick(ws)


def submit(ws: Workspace, title: str, ticks: int = 1, **placement: object) -> Job:
    config = GenerateConfig(prompts=[str(ticks)], models=[])
    return jobs.submit(ws, "generate", config, title, placement=Placement(**placement))


def placed(ws: Workspace) -> dict[str, str]:
    """Where each job is that has not ended: its device, or its position in the queue."""
    live = [job for job in jobs.list_jobs(ws) if job.state not in ENDED]
    return {job.title: job.device or str(job.position) for job in reversed(live)}


def test_each_device_gets_one_job_and_the_rest_wait_in_order(still: Workspace) -> None:
    made = [submit(still, title) for title in "abcd"]
    assert placed(still) == {"a": "cpu:0", "b": "cpu:1", "c": "1", "d": "2"}
    assert [job.position for job in made] == [None, None, 1, 2]
    finish(still, made[1])
    assert placed(still) == {"a": "cpu:0", "c": "cpu:1", "d": "1"}


def test_a_job_that_chose_its_device_waits_for_it_and_keeps_no_other_from_working(still: Workspace) -> None:
    first = submit(still, "a", device="cpu:1")
    submit(still, "b", device="cpu:1")
    third = submit(still, "c")
    assert placed(still) == {"a": "cpu:1", "b": "1", "c": "cpu:0"}
    finish(still, third)
    submit(still, "d", device="cpu:1")
    assert placed(still) == {"a": "cpu:1", "b": "1", "d": "2"}
    finish(still, first)
    assert placed(still) == {"b": "cpu:1", "d": "1"}


def test_a_job_whose_device_is_gone_says_so_and_waits(still: Workspace, monkeypatch) -> None:
    monkeypatch.setenv(DEVICES_VAR, "cpu:0,cpu:1,cuda:0")
    first, second = submit(still, "a", device="cuda:0"), submit(still, "b", device="cuda:0")
    assert second.message == ""
    monkeypatch.setenv(DEVICES_VAR, "cpu:0,cpu:1")
    finish(still, first)
    assert jobs.get_job(still, second.id).message == "waits for cuda:0, which this machine does not have"
    monkeypatch.setenv(DEVICES_VAR, "cuda:0")
    assert placed(still) == {"b": "cuda:0"}


def test_a_job_for_a_cluster_that_is_gone_waits_and_says_so_while_others_run(still: Workspace, monkeypatch) -> None:
    monkeypatch.setattr("sdstudio.jobs.backends.check", lambda *_: None)
    (still.root / FILE).write_text("{")
    waiting = submit(still, "a", backend="ray")
    submit(still, "b")
    assert placed(still) == {"a": "1", "b": "cpu:0"}
    assert waiting.message.startswith("waits: ") and ("sdstudio[ray]" in waiting.message or FILE in waiting.message)


def test_a_run_on_two_devices_takes_both_at_once_and_is_not_overtaken(still: Workspace) -> None:
    first = submit(still, "a")
    pair = submit(still, "pair", processes=2)
    submit(still, "c")
    assert placed(still) == {"a": "cpu:0", "pair": "1", "c": "2"}
    finish(still, first)
    assert placed(still) == {"pair": "cpu:0,cpu:1", "c": "1"}
    finish(still, pair)
    assert placed(still) == {"c": "cpu:0"}


def test_the_processes_of_a_run_share_the_cpu_where_it_is_all_there_is(still: Workspace, monkeypatch) -> None:
    monkeypatch.delenv(DEVICES_VAR)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    submit(still, "pair", processes=2)
    assert placed(still) == {"pair": "cpu"}


def test_the_queue_is_reordered(still: Workspace) -> None:
    made = {title: submit(still, title) for title in "abcdef"}

    def queued() -> str:
        return "".join(title for title, place in sorted(placed(still).items(), key=lambda item: item[1])
                       if place.isdigit())  # fmt: skip

    assert queued() == "cdef"
    for title, to, expected in [
        ("e", "up", "cedf"),
        ("c", "down", "ecdf"),
        ("f", "first", "fecd"),
        ("f", "up", "fecd"),
        ("e", "last", "fcde"),
        ("e", "down", "fcde"),
    ]:
        jobs.move(still, made[title].id, to)
        assert queued() == expected, (title, to)
    finish(still, made["a"])
    assert placed(still)["f"] == "cpu:0"
    with pytest.raises(UserError, match="does not wait"):
        jobs.move(still, made["a"].id, "first")
    with pytest.raises(UserError, match="first, up, down, last"):
        jobs.move(still, made["c"].id, "sideways")


def test_the_queue_is_rebuilt_from_the_folders_in_the_order_of_submission(still: Workspace) -> None:
    made = [submit(still, title) for title in "abcde"]
    still.database.unlink()
    finish(still, made[0])  # a tick alone, as a supervisor's at its end, is enough
    assert placed(still) == {"b": "cpu:1", "c": "cpu:0", "d": "1", "e": "2"}


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        ({"device": "cuda:7"}, "no device 'cuda:7'.*cpu:0, cpu:1"),
        ({"processes": 3}, "3 processes need a device each"),
        ({"device": "cpu:1", "processes": 2}, "2 processes need a device each"),
        ({"backend": "moon"}, "no place to run jobs named 'moon'"),
    ],
)
def test_a_placement_that_the_machine_cannot_give_is_refused(still: Workspace, placement, message: str) -> None:
    with pytest.raises(UserError, match=message):
        submit(still, "a", **placement)
    assert not still.tasks.exists() or not list(still.tasks.iterdir())


def test_a_job_that_only_moves_files_takes_no_device(still: Workspace, tmp_path: Path) -> None:
    config = ImportConfig(dataset="photos", folder=str(tmp_path))
    with pytest.raises(UserError, match="only moves files"):
        jobs.submit(still, "import", config, placement=Placement(device="cpu:0"))


def test_a_job_says_who_asked_for_it(still: Workspace, monkeypatch) -> None:
    monkeypatch.setenv("LOGNAME", "asim")
    assert submit(still, "a").owner == "asim"
    config = GenerateConfig(prompts=["1"], models=[])
    mine = jobs.submit(still, "generate", config, owner="Ada")
    assert jobs.get_job(still, mine.id).owner == "Ada"


@pytest.mark.parametrize(
    ("named", "visible", "expected"),
    [
        ("", "0,1", ("cuda:0", "cuda:1")),
        ("", "3", ("cuda:3",)),
        ("", "GPU-8f2c", ("cuda:GPU-8f2c",)),
        ("", "", ("cpu",)),
        ("", "-1", ("cpu",)),
        ("cuda:0, cpu,cuda:0", "", ("cuda:0", "cpu")),
    ],
)
def test_devices_are_those_this_process_may_use(monkeypatch, named: str, visible: str, expected: tuple) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv(DEVICES_VAR, named)
    assert compute_devices() == expected
    assert tuple(device.name for device in jobs.devices()) == expected


def test_a_device_that_is_none_is_refused(monkeypatch) -> None:
    monkeypatch.setenv(DEVICES_VAR, "cpu:0,tpu")
    with pytest.raises(UserError, match="'tpu'"):
        jobs.devices()


NVIDIA_SMI = """#!/bin/sh
echo "0, GPU-aaaa, NVIDIA GeForce RTX 3090, 24576"
echo "1, GPU-bbbb, NVIDIA H200, 143771"
"""


def test_gpus_are_found_with_their_names_and_memory(tmp_path: Path, monkeypatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(NVIDIA_SMI)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _gpus.cache_clear()
    found = [(device.name, device.label, device.memory // 2**30) for device in jobs.devices()]
    _gpus.cache_clear()
    assert found == [("cuda:0", "NVIDIA GeForce RTX 3090", 24), ("cuda:1", "NVIDIA H200", 140)]


@pytest.mark.parametrize(
    ("device", "visible"),
    [("cuda:1", {"CUDA_VISIBLE_DEVICES": "1"}), ("cuda:0,cuda:2", {"CUDA_VISIBLE_DEVICES": "0,2"}),
     ("cpu:1", {"CUDA_VISIBLE_DEVICES": ""}), ("disk", {})],
)  # fmt: skip
def test_a_worker_sees_its_own_gpus_only(device: str, visible: dict[str, str]) -> None:
    assert device_environment(device) == visible


def test_the_rate_leaves_out_what_came_before_the_first_unit(ws: Workspace, monkeypatch) -> None:
    clock = 1000.0
    monkeypatch.setattr(time, "time", lambda: clock)
    context = JobContext(ws, ws.root)

    def says(at: float, done: int, total: int = 100) -> tuple[float | None, float | None]:
        nonlocal clock
        clock = 1000.0 + at
        context.progress(done, total, "steps")
        return pace(read_progress(ws.root), clock)

    assert says(0, 0) == (None, None)  # the models are being loaded
    assert says(30, 1) == (None, None)
    assert says(32, 2) == pytest.approx((0.5, 196))
    assert says(34, 3) == pytest.approx((0.5, 194))
    for second in range(1, 81):
        rate, left = says(34 + second, 3 + second)
    assert (rate, left) == pytest.approx((1.0, 17))  # the slow start is more than a minute ago
    assert pace(read_progress(ws.root), clock + 1) == pytest.approx((1.0, 17))
    stalled, _ = pace(read_progress(ws.root), clock + 60)
    assert stalled == pytest.approx(0.5, rel=0.05)  # silent for a minute: half as fast over two
    assert says(200, 1, 10) == (None, None)  # another phase, of other units


def test_a_job_is_run_again_with_its_settings(still: Workspace) -> None:
    first = submit(still, "a", ticks=7, device="cpu:1")
    finish(still, first)
    again = jobs.run_again(still, first.id, owner="Ada")
    assert again.id != first.id and again.folder != first.folder
    assert (again.title, again.placement, again.owner) == ("a", first.placement, "Ada")
    assert (again.folder / "config.json").read_bytes() == (first.folder / "config.json").read_bytes()
    assert jobs.get_job(still, first.id).state == "succeeded"


def overlaps(ended: list[Job]) -> list[tuple[str, str]]:
    """The pairs of jobs that were both running on one device at one moment."""
    return [
        (one.title, other.title)
        for one, other in itertools.combinations(ended, 2)
        if one.device == other.device and one.started < other.ended and other.started < one.ended
    ]


def submit_from(ws: Workspace, processes: int, each: int, ticks: int) -> list[Job]:
    """The ended jobs that as many processes submitted at the same time, in the order in which they were asked for."""
    code = (
        "import sys, light_jobs, pathlib\n"
        "from sdstudio.workspace import Workspace\n"
        "ws = Workspace(pathlib.Path(sys.argv[1]))\n"
        f"for number in range({each}): light_jobs.submit(ws, {ticks}, f'{{sys.argv[2]}} {{number}}')\n"
    )
    command = [sys.executable, "-c", code, str(ws.root)]
    running = [subprocess.Popen([*command, f"process {number}"], env=os.environ) for number in range(processes)]
    assert [process.wait(timeout=WAIT) for process in running] == [0] * processes
    assert len(jobs.list_jobs(ws)) == processes * each
    return [jobs.wait(ws, job.id, WAIT) for job in reversed(jobs.list_jobs(ws))]


def check_fair(ended: list[Job]) -> None:
    assert {job.state for job in ended} == {"succeeded"}
    assert {job.device for job in ended} == {"cpu:0", "cpu:1"}
    assert overlaps(ended) == []
    begun = [read_state(job.folder).supervisor.create_time for job in ended]
    assert begun == sorted(begun)
    for job in ended:
        assert light_jobs.starts(job) == 1


def test_jobs_from_two_processes_on_two_devices(ws: Workspace) -> None:
    check_fair(submit_from(ws, processes=2, each=2, ticks=4))


@pytest.mark.slow
def test_twenty_jobs_from_four_processes_on_two_devices(ws: Workspace) -> None:
    check_fair(submit_from(ws, processes=4, each=5, ticks=10))
