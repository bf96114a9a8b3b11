"""`sdstudio jobs …`, on jobs that only count.

pytest tests/test_cli_jobs.py
"""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import light_jobs
import pytest
from jobs_helpers import WAIT, finish, finish_all, let_nobody_work, light_workspace

from sdstudio import cli, jobs
from sdstudio.jobs.folder import read_state, write_state
from sdstudio.jobs.transitions import change_state
from sdstudio.workspace import ENV_VAR, Workspace, write_json


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace with two devices, whose jobs are begun but done by nobody, until `finish` says that they are."""
    workspace = light_workspace(tmp_path, monkeypatch)
    monkeypatch.setenv(ENV_VAR, str(workspace.root))
    monkeypatch.setattr(cli, "install_starter", lambda ws: None)
    monkeypatch.setenv("LOGNAME", "asim")
    let_nobody_work(monkeypatch)
    yield workspace
    finish_all(workspace)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert cli.main(["jobs", *argv]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert cli.main(list(argv)) == 2
    return capsys.readouterr().err


def test_the_list_says_who_where_and_how_far(ws: Workspace, capsys) -> None:
    running, _, queued = (light_jobs.submit(ws, 1, title) for title in "abc")
    change_state(running.folder, state="running", started=time.time())
    now = time.time() + 60
    since = {"time": now - 10, "done": 100}
    write_json(  # said a moment from now, so that a slow machine takes none of it for silence
        running.folder / "progress.json",
        {"done": 200, "total": 600, "unit": "steps", "message": "", "time": now, "since": since},
    )
    lines = {line.split()[0]: line for line in run(capsys, "list").splitlines()}
    for word in ("running", "asim", "cpu:0", "200/600 steps", "10 a second", "about 40 s left"):
        assert word in lines[running.id], lines
    assert "queued (1)" in lines[queued.id]
    shown = json.loads(run(capsys, "show", running.id, "--json"))
    assert (shown["owner"], shown["device"], shown["placement"]["backend"]) == ("asim", "cpu:0", "local")
    assert shown["rate"] == pytest.approx(10)
    assert "owner     asim" in run(capsys, "show", running.id)


def test_a_job_is_moved_run_again_deleted_restored_and_cleaned_away(ws: Workspace, capsys) -> None:
    first, _, third, fourth = (light_jobs.submit(ws, 1, title) for title in "abcd")
    assert "is number 1 in the queue" in run(capsys, "move", fourth.id, "first")
    assert jobs.get_job(ws, third.id).position == 2
    assert "choose from" in refused(capsys, "jobs", "move", fourth.id, "sideways")
    finish(ws, first)
    again = json.loads(run(capsys, "again", first.id, "--json"))
    assert (again["title"], again["state"]) == ("a", "queued")
    assert "is in the trash" in run(capsys, "delete", first.id)
    assert [job["id"] for job in json.loads(run(capsys, "list", "--deleted", "--json"))] == [first.id]
    assert "no job" in refused(capsys, "jobs", "show", first.id)
    assert "is back; it is succeeded" in run(capsys, "restore", first.id)
    run(capsys, "delete", first.id)
    assert "1 folder removed" in run(capsys, "clean")
    assert "in the trash" in refused(capsys, "jobs", "restore", first.id)


def test_a_log_is_followed_to_the_jobs_end(ws: Workspace, capsys, monkeypatch) -> None:
    job = light_jobs.submit(ws, 1)
    monkeypatch.setattr(cli.jobs, "POLL", 0.02)
    log = job.folder / "log.txt"
    log.write_text("one\ntwo\nth")

    looked, tick = threading.Event(), jobs.tick
    monkeypatch.setattr(jobs, "tick", lambda ws: (tick(ws), looked.set()))

    def work() -> None:
        for line in ("ree\nfo", "ur\n"):
            assert looked.wait(WAIT)
            looked.clear()
            with log.open("a") as file:
                file.write(line)
        finish(ws, job)

    worker = threading.Thread(target=work)
    worker.start()
    assert run(capsys, "logs", job.id, "--follow", "--lines", "1") == "two\nthree\nfour\ndone\n"
    worker.join()
    assert "leave out --json" in refused(capsys, "jobs", "logs", job.id, "--follow", "--json")


def test_a_device_is_chosen_for_a_queued_job_only(ws: Workspace, capsys) -> None:
    generate = ["generate", "--model", "base", "--prompts", "1"]
    assert "add --detach" in refused(capsys, *generate, "--device", "cpu:1")
    assert "no device 'cuda:0'" in refused(capsys, *generate, "--detach", "--device", "cuda:0")
    assert cli.main([*generate, "--detach", "--device", "cpu:1", "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["device"], job["placement"]["device"]) == ("cpu:1", "cpu:1")


@pytest.mark.parametrize(("kind", "handed"), [("push", {"HF_TOKEN": "hf_secret"}), ("generate", {})])
def test_only_what_talks_to_the_hub_is_handed_the_environments_token(
    ws: Workspace, capsys, monkeypatch, kind: str, handed: dict[str, str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    job = light_jobs.submit(ws, 1)
    write_state(job.folder, replace(read_state(job.folder), kind=kind, state="failed", ended=time.time()))
    asked: list[dict[str, str]] = []
    for name in ("resume_job", "run_again"):
        monkeypatch.setattr(jobs, name, lambda ws, job_id, secrets: (asked.append(secrets), job)[1])
    run(capsys, "resume", job.id, "--detach")
    run(capsys, "again", job.id)
    assert asked == [handed, handed]
