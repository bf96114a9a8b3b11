"""The pages over a small real workspace: pytest tests/test_pages.py"""

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from cats import HOSTILE, captions, four_cats, ids, picture
from streamlit.testing.v1 import AppTest
from studio_pages import MAIN, ROOT, open_page, words

from sdstudio import jobs
from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.datasets.trying import TRIES_FILE, TriedCaption
from sdstudio.jobs.folder import read_state, write_state
from sdstudio.schema import CaptionConfig, PushConfig, TrainConfig, from_json, to_json
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace, read_json, write_json

PAGES = ("home", "annotate", "train", "generate", "evaluate", "jobs")


@pytest.fixture
def workspace(quiet_workspace: Workspace) -> Workspace:
    return quiet_workspace


@pytest.fixture
def store(workspace: Workspace) -> DatasetStore:
    return four_cats(workspace)


# ---------------------------------------------------------------- what a person sees


@pytest.mark.parametrize(
    ("page", "hint"),
    [
        ("home", "No pictures yet"),
        ("annotate", "There is no dataset yet"),
        ("train", "There is nothing to learn from yet"),
        ("generate", "Your pictures appear here"),
        ("evaluate", "train a model first"),
        ("jobs", "There is no job yet"),
    ],
)
def test_an_empty_workspace_is_told_what_to_do(workspace: Workspace, page: str, hint: str) -> None:
    assert hint in words(open_page(page))


def test_home_says_what_is_done_and_what_is_next(workspace: Workspace, store: DatasetStore) -> None:
    said = words(open_page("home"))
    assert "3 of 4 pictures captioned, 0 by you" in said
    assert said.count("Next") == 1 and "Done" not in said
    last = store.images()[-1]
    store.set_caption(last.id, "a cat that sleeps", "person:local", last.version)
    said = words(open_page("home"))
    assert "4 of 4 pictures captioned, 1 by you" in said
    assert said.count("Done") == 1 and said.count("Next") == 1


def test_captions_are_never_markdown(workspace: Workspace, store: DatasetStore) -> None:
    first = store.images()[0]
    for app in (open_page("annotate"), open_page("annotate", image=first.id)):
        assert not [
            item.value for item in app.get("markdown") + app.get("caption") if "elsewhere.example" in item.value
        ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "**4 pictures**"),
        ({"only": "Empty"}, "**1 picture**"),
        ({"contains": "A CAT"}, "**2 pictures**"),
        ({"contains": "(mat|hat)$", "regex": "true"}, "**2 pictures**"),
        ({"without": "mat"}, "**3 pictures**"),
        ({"state": "Approved"}, "No picture matches"),
        ({"contains": "zebra"}, "No picture matches"),
        ({"contains": "(cat", "regex": "true"}, "not a valid pattern"),
    ],
)
def test_the_filter_keeps_what_it_says(
    workspace: Workspace, store: DatasetStore, query: dict[str, str], said: str
) -> None:
    assert said in words(open_page("annotate", **query))


def test_a_long_set_is_turned_page_by_page(
    workspace: Workspace, store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdstudio.ui.annotate.grid.PAGE_SIZE", 2)
    pages: list[list[str]] = []

    def noted(items: list[Item], **rest: Any) -> None:
        pages.append([item.id for item in items])
        gallery(items, **rest)

    monkeypatch.setattr("sdstudio.ui.annotate.grid.gallery", noted)
    open_page("annotate")
    open_page("annotate", page="2")
    open_page("annotate", page="7")
    open_page("annotate", page="2", contains="a cat")
    order = ids(store)
    assert pages == [order[:2], order[2:], order[:2], order[1:3]]


def test_a_bulk_change_is_shown_done_and_taken_back(workspace: Workspace, store: DatasetStore) -> None:
    def form(chosen: list[str]) -> None:
        from sdstudio.datasets import open_dataset
        from sdstudio.datasets.query import Query
        from sdstudio.ui.annotate import bulk
        from sdstudio.workspace import current_workspace

        bulk.show_form(open_dataset(current_workspace(), "cats"), Query(contains="a cat"), 2, chosen)

    def replace_cat(chosen: list[str]) -> AppTest:
        app = AppTest.from_function(form, kwargs={"chosen": chosen}, default_timeout=60).run()
        app.text_input(key="bulk-find").set_value("cat")
        app.text_input(key="bulk-replace").set_value("dog")
        return app.run()

    app = replace_cat([])
    assert "**2 pictures** will change" in words(app)
    app.button(key="bulk-do").click().run()
    assert not app.exception
    assert captions(store) == [HOSTILE, "a dog on a mat", "a dog in a hat", ""]
    open_page("annotate").button(key="bulk-Undo").click().run()
    assert captions(store) == [HOSTILE, "a cat on a mat", "a cat in a hat", ""]
    replace_cat(ids(store)[1:2]).button(key="bulk-do").click().run()
    assert captions(store) == [HOSTILE, "a dog on a mat", "a cat in a hat", ""]


def test_a_check_leads_to_the_pictures_concerned(workspace: Workspace, store: DatasetStore) -> None:
    def form() -> None:
        from sdstudio.datasets import open_dataset
        from sdstudio.ui.annotate import check
        from sdstudio.workspace import current_workspace

        check.show_findings(open_dataset(current_workspace(), "cats"))

    app = AppTest.from_function(form, default_timeout=60).run()
    assert "1 picture without a caption" in words(app)
    app.button(key="show-empty").click().run()
    assert not app.exception and app.query_params["check"] == "empty"
    shown = open_page("annotate", check="empty")
    assert "**1 picture**" in words(shown)
    shown.button(key="forget-check").click().run()
    assert "**4 pictures**" in words(shown)
    assert "**4 pictures**" in words(open_page("annotate", check="of-another-day"))


def test_settings_are_tried_side_by_side(workspace: Workspace, store: DatasetStore) -> None:
    app = open_page("annotate", view="drafts")
    app.button(key="try").click().run()
    app.number_input(key="captioner.blip.min_length").set_value(9)
    app.button(key="try").click().run()
    assert not app.exception and not app.error
    second, first = jobs.list_jobs(workspace, "try")
    assert app.query_params["tries"] == f"{first.id},{second.id}"
    write_json(first.folder / TRIES_FILE, [to_json(TriedCaption(setting=0, id=ids(store)[0], caption=HOSTILE))])
    write_json(second.folder / TRIES_FILE, [to_json(TriedCaption(setting=0, id=ids(store)[0], error="It failed."))])
    said = words(open_page("annotate", view="drafts", tries=app.query_params["tries"]))
    assert literal(HOSTILE) in said and "It failed" in said
    assert "as it comes" in said and "min length 9" in said
    assert captions(store)[0] == HOSTILE and store.images()[0].machine_caption == ""


def test_drafting_is_submitted_as_the_form_says(workspace: Workspace, store: DatasetStore) -> None:
    app = open_page("annotate", view="drafts")
    app.number_input(key="captioner.blip.num_beams").set_value(2)
    app.button(key="draft").click().run()
    assert not app.exception
    [job] = jobs.list_jobs(workspace, "caption")
    config = from_json(CaptionConfig, read_json(job.folder / "config.json"))
    assert (config.dataset, config.only_empty, config.options["num_beams"]) == ("cats", True, 2)
    assert app.query_params["job"] == job.id and "view" not in app.query_params


def test_a_push_is_listed_first_and_its_token_is_handed_over_in_secret(
    workspace: Workspace, store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def form() -> None:
        from sdstudio.datasets import open_dataset
        from sdstudio.ui.annotate import push
        from sdstudio.workspace import current_workspace

        push.show_form(current_workspace(), open_dataset(current_workspace(), "cats"))

    sent: list[tuple[object, ...]] = []
    monkeypatch.setattr("sdstudio.ui.annotate.push.start", lambda *asked: sent.append(asked))
    app = AppTest.from_function(form, default_timeout=60).run()
    said = words(app)
    assert "only its owner sees it" in said and "README.md" in said and "parquet" in said
    app.text_input(key="push.cats.repository").set_value("ann/cats")
    next(field for field in app.text_input if field.label == "Token").set_value("hf_canary")
    app.button(key="push").click().run()
    assert not app.exception
    [(_, kind, config, title, secrets)] = sent
    assert kind == "push" and isinstance(config, PushConfig) and secrets == {"HF_TOKEN": "hf_canary"}
    assert (config.dataset, config.repository, config.private) == ("cats", "ann/cats", True)
    assert "hf_canary" not in words(app) + str(title) + str(config)


def test_the_progress_counts_what_a_person_changed(workspace: Workspace, store: DatasetStore) -> None:
    first = store.images()[0]
    store.set_caption(first.id, "mine", "person:local", first.version)
    [bar] = [item for item in open_page("annotate").get("progress") if "Modified" in item.proto.text]
    assert (bar.proto.text, bar.proto.value) == ("Modified: 1 / 4", 25)


def test_training_is_submitted_as_the_form_says(workspace: Workspace, store: DatasetStore) -> None:
    app = open_page("train")
    assert "1 picture without a caption" in words(app)
    app.number_input(key="train.loop.steps").set_value(7)
    app.number_input(key="train.lora.rank").set_value(2)
    app.text_input(key="train.name").set_value("first try")
    app.button(key="start").click().run()
    assert not app.exception and not app.error
    [job] = jobs.list_jobs(workspace, "train")
    config = from_json(TrainConfig, read_json(job.folder / "config.json"))
    assert (config.name, config.dataset, config.base_model, config.method) == ("first try", "cats", "starter", "lora")
    assert (config.loop.steps, config.method_options["rank"]) == (7, 2)
    assert app.query_params["run"] == job.id
    assert "queued" in words(app)


def test_the_form_of_another_method_is_another_form(workspace: Workspace, store: DatasetStore) -> None:
    app = open_page("train")
    lora = {item.key for item in app.number_input}
    app.get("button_group")[0].set_value("sam").run()
    assert not app.exception
    assert {item.key for item in app.number_input} != lora
    assert app.number_input(key="train.loop.steps").value == 600


def test_what_cannot_be_trained_is_one_sentence_and_no_run(workspace: Workspace) -> None:
    create_dataset(workspace, "bare").add(picture(1), "bare.png")
    app = open_page("train")
    assert app.button(key="start").disabled
    [error] = app.error
    assert "No picture of the dataset" in error.value and "caption" in error.value
    assert jobs.list_jobs(workspace) == []


def test_a_failed_run_says_why_letter_by_letter(workspace: Workspace, store: DatasetStore) -> None:
    job = jobs.submit(workspace, "train", TrainConfig(dataset="cats"))
    state = read_state(job.folder)
    write_state(job.folder, replace(state, state="failed", ended=state.created, error="The disk is full: *free* some."))
    app = open_page("train", run=job.id)
    assert [item.value for item in app.error] == [r"The disk is full\: \*free\* some\."]
    assert "failed" in words(app)


def test_stop_takes_a_waiting_job_out_and_resume_puts_it_back(workspace: Workspace, store: DatasetStore) -> None:
    job = jobs.submit(workspace, "train", TrainConfig(dataset="cats"))
    app = open_page("train")
    app.button(key=f"stop-{job.id}").click().run()
    assert not app.exception
    assert jobs.get_job(workspace, job.id).state == "cancelled"
    app.button(key=f"resume-{job.id}").click().run()
    assert not app.exception
    assert jobs.get_job(workspace, job.id).state == "queued"


def test_a_job_that_is_not_there_is_said(workspace: Workspace, store: DatasetStore) -> None:
    app = open_page("annotate", job="20260101-000000-gone-0000")
    assert "There is no job" in app.error[0].value


def test_session_state_holds_names_and_ids_only(workspace: Workspace, store: DatasetStore) -> None:
    plain = str | int | float | bool | None
    for page in PAGES:
        for key, value in open_page(page, image=store.images()[0].id).session_state.to_dict().items():
            values = value if isinstance(value, list | tuple) else [value]
            assert all(isinstance(item, plain) for item in values) or key in ("caption-editor", "grid", "preview"), key


@pytest.mark.parametrize("page", PAGES)
def test_no_page_loads_torch(workspace: Workspace, store: DatasetStore, page: str) -> None:
    script = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({str(MAIN)!r}, default_timeout=60)\n"
        f"app.switch_page({str(ROOT / 'pages' / f'{page}.py')!r}).run()\n"
        "assert not app.exception, app.exception\n"
        "assert app.title[0].value\n"
        "print([name for name in ('torch', 'diffusers', 'transformers', 'peft') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == "[]"
