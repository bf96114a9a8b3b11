"""The Jobs page: pytest tests/test_jobs_page.py"""

import time
from dataclasses import replace

import pytest
from staged_jobs import asked, ended, running
from streamlit.testing.v1 import AppTest
from studio_pages import open_page, words

from sdstudio import jobs
from sdstudio.datasets import create_dataset
from sdstudio.jobs.context import JobContext
from sdstudio.jobs.folder import read_state, write_state
from sdstudio.jobs.locks import Lease
from sdstudio.jobs.transitions import change_state
from sdstudio.schema import (
    Job,
    PushConfig,
    to_json,
)
from sdstudio.ui.jobs import describe
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace, read_json, write_json

HOSTILE = "a **bold** ![x](http://elsewhere.example/x.png) title"


@pytest.fixture
def workspace(quiet_workspace: Workspace) -> Workspace:
    return quiet_workspace


def rows(app: AppTest) -> list[str]:
    """The ids of the ended jobs that are shown, in their order."""
    return [menu.key.removeprefix("menu-") for menu in app.menu_button if menu.key.startswith("menu-")]


def queue_order(workspace: Workspace) -> list[str]:
    return [job.id for job in jobs.live_jobs(workspace) if job.state == "queued"]


# ---------------------------------------------------------------- what runs and what waits


def test_a_running_job_says_how_far_how_fast_and_what(workspace: Workspace) -> None:
    job = running(workspace, HOSTILE)
    context = JobContext(workspace, job.folder)
    context.progress(0, 200, "steps")
    context.metrics(step=41, loss=0.5, lr=1e-4, memory_bytes=2_100_000, secret_number=7)
    context.metrics(step=42, loss=0.25)
    context.progress(42, 200, "steps", "half *way*")
    (job.folder / "log.txt").write_text("the last line\n")
    app = open_page("jobs")
    said = words(app)
    assert literal(HOSTILE) in said and "elsewhere.example" not in said.replace(literal(HOSTILE), "")
    assert "Loss **0\\.25**" in said and "Learning rate **0\\.0001**" in said
    assert "Memory **2\\.1 MB**" in said and "ecret" not in said
    assert literal("Pictures · CPU · for 1 min") in said
    bars = [bar.proto.text for bar in app.get("progress")]
    assert any(text.startswith("42 of 200 steps") and text.endswith(literal("half *way*")) for text in bars)
    assert [block.value for block in app.code] == ["the last line"]


def test_stop_and_stop_now_reach_the_job_that_they_name(workspace: Workspace) -> None:
    first, second = running(workspace, "first"), running(workspace, "second")
    app = open_page("jobs")
    app.button(key=f"stop-{second.id}").click().run()
    assert [(job.folder / "STOP").exists() for job in (first, second)] == [False, True]
    assert jobs.get_job(workspace, second.id).state == "stopping"
    app.button(key=f"stop-now-{second.id}").click().run()
    assert (second.folder / "STOP").read_text() == "now" and not (first.folder / "STOP").exists()


def test_the_queue_is_shown_in_its_order_and_can_be_changed(workspace: Workspace) -> None:
    first, second, third = (asked(workspace, name) for name in ("one", "two", "three"))
    app = open_page("jobs")
    assert queue_order(workspace) == [first.id, second.id, third.id]
    app.button(key=f"down-{first.id}").click().run()
    assert queue_order(workspace) == [second.id, first.id, third.id]
    app.button(key=f"up-{third.id}").click().run()
    assert queue_order(workspace) == [second.id, third.id, first.id]
    app.menu_button(key=f"queue-menu-{first.id}").click("Move to the front").run()
    assert queue_order(workspace) == [first.id, second.id, third.id]
    app.menu_button(key=f"queue-menu-{first.id}").click("Move to the end").run()
    assert queue_order(workspace) == [second.id, third.id, first.id]
    assert app.button(key=f"up-{second.id}").disabled and app.button(key=f"down-{first.id}").disabled
    app.menu_button(key=f"queue-menu-{third.id}").click("Take out of the queue").run()
    assert not app.exception and queue_order(workspace) == [second.id, first.id]
    assert jobs.get_job(workspace, third.id).state == "cancelled"


def test_a_job_that_left_the_queue_meanwhile_is_not_moved(workspace: Workspace) -> None:
    first, second = asked(workspace, "one"), asked(workspace, "two")
    app = open_page("jobs")
    jobs.stop_job(workspace, second.id)
    app.button(key=f"up-{second.id}").click().run()
    assert not app.exception and queue_order(workspace) == [first.id]
    assert "has no place to change" in app.toast[0].value


def test_without_a_gpu_it_is_said(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")
    assert "one job at a time runs on the CPU" in words(open_page("jobs"))


def test_each_device_says_what_runs_on_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cuda:0,cuda:1")
    running(workspace, "asim style", device="cuda:1")
    app = open_page("jobs")
    assert [item.value.split("**")[1] for item in app.markdown if item.value.startswith("**GPU")] == ["GPU 0", "GPU 1"]
    assert [item.value for item in app.caption if item.value in ("free", ":material/play_arrow: asim style")] == [
        "free",
        ":material/play_arrow: asim style",
    ]


def test_what_holds_a_device_without_a_job_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for devices, held in (("cpu", "cpu"), ("cuda:0,cuda:1", "cuda:1")):
        monkeypatch.setenv("SDSTUDIO_DEVICES", devices)
        assert "Drawing *now*" not in words(open_page("jobs"))
        with Lease(workspace, [held], "Drawing *now*"):
            assert literal("Drawing *now*") in words(open_page("jobs"))
            job = running(workspace, "waits for it", device=held)
            JobContext(workspace, job.folder).progress(0, 0, message=f"waits: {held} is used by Drawing *now*")
            app = open_page("jobs")
            assert literal("Drawing *now*") in words(app)
            said = literal(f"It waits: {describe.device_text(held)} is used by Drawing *now*")
            assert said in [bar.proto.text for bar in app.get("progress")]
            change_state(job.folder, state="cancelled", ended=time.time())


# ---------------------------------------------------------------- what has ended


@pytest.fixture
def three(workspace: Workspace) -> list[Job]:
    """A training that failed, pictures that succeeded, a training that was stopped; the newest last."""
    return [
        ended(workspace, "asim style", "failed", kind="train", owner="anna", error="The disk is full: *free* some."),
        ended(workspace, "a cat on a beach", "succeeded", owner="ben"),
        ended(workspace, "Zorby", "cancelled", kind="train", owner="ben", message="Stopped as asked."),
    ]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({}, [2, 1, 0]),
        ({"kind-of-job": "Training"}, [2, 0]),
        ({"ended-as": "succeeded"}, [1]),
        ({"owned-by": "ben"}, [2, 1]),
        ({"in-title": "zorb"}, [2]),
        ({"kind-of-job": "Training", "owned-by": "anna"}, [0]),
        ({"in-title": "nothing like it"}, []),
    ],
)
def test_filters_keep_what_they_say(
    workspace: Workspace, three: list[Job], query: dict[str, str], shown: list[int]
) -> None:
    app = open_page("jobs", **query)
    assert rows(app) == [three[place].id for place in shown]
    if not shown:
        app.button(key="show-all-jobs").click().run()
        assert len(rows(app)) == 3


def test_why_it_failed_is_said_letter_by_letter(workspace: Workspace) -> None:
    job = asked(workspace, "asim style")
    (job.folder / "traceback.txt").write_text("Traceback: in engine.py")
    now = time.time()
    failed = {"state": "failed", "started": now, "ended": now, "error": "The disk is full: *free* some."}
    write_state(job.folder, replace(read_state(job.folder), **failed))
    assert r"The disk is full\: \*free\* some\." in words(open_page("jobs"))
    app = open_page("jobs", job=job.id)
    assert [item.value for item in app.error] == [r"The disk is full\: \*free\* some\."]
    [traceback] = [item for item in app.expander if item.label == "Traceback"]
    assert not traceback.proto.expanded and traceback.code[0].value == "Traceback: in engine.py"


def test_a_page_names_its_button_and_not_the_command(workspace: Workspace) -> None:
    job = ended(workspace, "one", "cancelled")
    kept = f"What it had done is kept. `sdstudio jobs resume {job.id}` goes on with it."
    write_state(job.folder, replace(read_state(job.folder), message=kept))
    assert describe.end_text(jobs.get_job(workspace, job.id)) == "What it had done is kept. Resume goes on with it."


def test_owners_are_named_where_there_are_several(workspace: Workspace) -> None:
    job = ended(workspace, "one", owner="anna")
    assert "anna" not in words(open_page("jobs")) and "by anna" in words(open_page("jobs", job=job.id))
    ended(workspace, "two", owner="ben")
    asked(workspace, "three", owner="*eve*")
    said = words(open_page("jobs"))
    assert "anna" in said and "ben" in said and literal("*eve*") in said


def test_many_jobs_come_a_page_at_a_time(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdstudio.ui.jobs.ended.PAGE_SIZE", 2)
    made = [ended(workspace, f"job {number}").id for number in range(5)][::-1]
    app = open_page("jobs")
    assert rows(app) == made[:2]
    app.pagination(key="ended-page").set_value(3).run()
    assert rows(app) == made[4:]
    app.text_input(key="in-title").set_value("job").run()
    assert rows(app) == made[:2]


@pytest.mark.parametrize(
    ("kind", "config", "page", "query"),
    [
        ("train", {}, "train", "run={}"),
        ("generate", {}, "generate", "batch={}"),
        ("evaluate", {}, "evaluate", "table={}"),
        ("caption", {"dataset": "cats"}, "annotate", "job={}&dataset=cats"),
        ("try", {"dataset": "cats"}, "annotate", "tries={}&dataset=cats&view=drafts"),
        ("export", {"checkpoint": "runs/lora-7/checkpoints/step-000100"}, "train", "run=lora-7"),
        ("publish", {"checkpoint": "lora-7"}, "train", "run=lora-7"),
    ],
)
def test_a_result_is_one_click_away(
    workspace: Workspace, kind: str, config: dict[str, str], page: str, query: str
) -> None:
    job = ended(workspace, kind=kind)
    write_json(job.folder / "config.json", config)
    [link] = [link for link in open_page("jobs").page_link if link.value == "Open"]
    assert (link.proto.page, link.proto.query_string) == (page, query.format(job.id))


# ---------------------------------------------------------------- what can be done


def test_resume_queues_the_job_and_run_again_another(workspace: Workspace, three: list[Job]) -> None:
    app = open_page("jobs")
    app.button(key=f"resume-{three[2].id}").click().run()
    assert not app.exception and queue_order(workspace) == [three[2].id]
    app.menu_button(key=f"menu-{three[1].id}").click("Run again").run()
    assert not app.exception
    [_, fresh] = queue_order(workspace)
    assert app.query_params["job"] == fresh != three[1].id
    again = jobs.get_job(workspace, fresh)
    assert read_json(again.folder / "config.json") == read_json(three[1].folder / "config.json")
    assert jobs.get_job(workspace, three[1].id).state == "succeeded"


@pytest.mark.parametrize("act", ["Resume", "Run again"])
def test_a_push_asks_for_its_token_before_it_goes_on(workspace: Workspace, monkeypatch, act: str) -> None:
    handed: list[object] = []
    monkeypatch.setattr("sdstudio.jobs.queue._start_now", lambda ws, folder, secrets: handed.append(secrets))
    monkeypatch.setattr("sdstudio.jobs.queue._checked", lambda ws, kind, config, *rest: config)
    create_dataset(workspace, "set")
    job = ended(workspace, "Push set", "failed", kind="push", error="The Hub refused.")
    write_json(job.folder / "config.json", to_json(PushConfig(dataset="set", repository="ann/set")))
    app = open_page("jobs")
    if act == "Resume":
        app.button(key=f"resume-{job.id}").click().run()
    else:
        app.menu_button(key=f"menu-{job.id}").click(act).run()
    assert not app.exception and handed == [] and queue_order(workspace) == []
    [field] = [field for field in app.text_input if field.label == "Token"]
    field.set_value("hf_secret")
    app.button(key=f"begin-{job.id}").click().run()
    assert not app.exception and handed == [{"HF_TOKEN": "hf_secret"}]
    assert len(queue_order(workspace)) == 1
    assert not [field for field in app.text_input if field.label == "Token"]


def test_delete_asks_and_is_taken_back(workspace: Workspace, three: list[Job]) -> None:
    job = three[1]
    app = open_page("jobs")
    app.menu_button(key=f"menu-{job.id}").click("Delete…").run()
    app.button(key=f"keep-{job.id}").click().run()
    assert f"delete-{job.id}" not in {item.key for item in app.button} and job.folder.exists()
    app.menu_button(key=f"menu-{job.id}").click("Delete…").run()
    assert "a cat on a beach" in [item.value for item in app.text] and job.folder.exists()
    app.button(key=f"delete-{job.id}").click().run()
    assert not app.exception and not job.folder.exists()
    assert rows(app) == [three[2].id, three[0].id]
    app.button(key=f"undo-{job.id}").click().run()
    assert not app.exception and job.folder.exists()
    assert rows(app) == [three[2].id, job.id, three[0].id] and "deleted" not in app.query_params


def test_the_trash_restores_one_and_is_emptied(workspace: Workspace, three: list[Job]) -> None:
    for job in three:
        jobs.delete_job(workspace, job.id)
    picture = workspace.deleted_pictures / "images/20260101-a/a-cat.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"pixels")
    app = open_page("jobs")
    assert rows(app) == [] and "3 jobs and 1 picture" in app.expander(key="trash").label
    app.button(key=f"restore-{three[0].id}").click().run()
    assert rows(app) == [three[0].id] and three[0].folder.exists()
    app.button(key="empty-trash").click().run()
    assert not app.exception and jobs.trash(workspace) == [] and three[0].folder.exists()
    assert not picture.exists() and "trash" not in {item.key for item in app.expander}


def test_every_button_names_its_job(workspace: Workspace, three: list[Job]) -> None:
    """After a restart of the server a page of before may still be open: no button may stand for a place in a list."""
    running(workspace, "runs")
    asked(workspace, "waits")
    jobs.delete_job(workspace, three[1].id)
    known = {job.id for job in jobs.list_jobs(workspace)} | {three[1].id}
    app = open_page("jobs", deleted=three[1].id)
    keys = [item.key for item in (*app.button, *app.menu_button)]
    assert len(keys) >= 12
    assert [key for key in keys if not any(key.endswith(job) for job in known)] == ["empty-trash"]


def test_a_job_is_shown_whole(workspace: Workspace, three: list[Job]) -> None:
    app = open_page("jobs", job=three[1].id)
    said = words(app)
    assert "a cat on a beach" in said and "Asked for" in said and "ended" in said
    assert literal(three[1].id) in said
    assert app.json[0].value and "a cat" in app.json[0].value
    app.button(key="back").click().run()
    assert "job" not in app.query_params and len(rows(app)) == 3
    app = open_page("jobs", job="20260101-000000-gone-0000")
    assert ["not here any more" in said.value for said in app.warning] == [True] and not app.error
