"""The pages over a small real workspace: pytest tests/test_pages.py"""

import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image, ImageDraw
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest
from studio_pages import MAIN, ROOT, open_page, words

from sdstudio import jobs
from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.datasets.query import Query
from sdstudio.datasets.trying import TRIES_FILE, TriedCaption
from sdstudio.jobs.folder import read_state, write_state
from sdstudio.schema import CaptionConfig, GenerateConfig, PushConfig, TrainConfig, UserError, from_json, to_json
from sdstudio.ui import captioning, files
from sdstudio.ui.captioning import Answer, Edit, Message
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.text import ago, count, duration, literal
from sdstudio.workspace import Workspace, read_json, write_json

PAGES = ("home", "annotate", "train", "generate", "evaluate", "jobs")
HOSTILE = "a **bold** ![x](http://elsewhere.example/x.png) <b>face</b>"


@pytest.fixture
def workspace(quiet_workspace: Workspace) -> Workspace:
    return quiet_workspace


@pytest.fixture
def store(workspace: Workspace) -> DatasetStore:
    """Four pictures: three with a caption, the first of them hostile, and one without."""
    dataset = create_dataset(workspace, "cats", "Four cats.")
    for index, caption in enumerate([HOSTILE, "a cat on a mat", "a cat in a hat", ""]):
        dataset.add(picture(index), f"cat-{index}.png", caption)
    return dataset


def picture(shade: int, side: int = 64) -> bytes:
    image = Image.new("RGB", (side, side), (40 * shade, 90, 160))
    ImageDraw.Draw(image).ellipse((8 + shade, 8, 50, 50), fill=(250, 210, 60))
    memory = io.BytesIO()
    image.save(memory, "PNG")
    return memory.getvalue()


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


# ---------------------------------------------------------------- the caption editor's messages


def edit(store: DatasetStore, place: int, caption: str | None = None, approve: bool = False, version: int = -1) -> Edit:
    image = store.images()[place]
    words = image.caption if caption is None else caption
    return Edit(image.id, image.version if version < 0 else version, words, approve)


def tell(store: DatasetStore, shows: int, *edits: Edit, ask: captioning.Ask = "", place: int = 0) -> Answer:
    """Send one message about the picture that is shown; answered with what became of it."""
    image = store.images()[shows]
    message = Message(store.name, 1, image.id, list(edits), ask, image.id, image.version, place)
    return captioning.act(store, Query(), message)


def ids(store: DatasetStore) -> list[str]:
    return [image.id for image in store.images()]


def captions(store: DatasetStore) -> list[str]:
    return [image.caption for image in store.images()]


def test_captions_land_on_the_pictures_they_were_written_for(store: DatasetStore) -> None:
    answer = tell(store, 3, edit(store, 1, "  a cat\non a chair "), edit(store, 0, "the first"))
    assert captions(store) == ["the first", "a cat on a chair", "a cat in a hat", ""]
    assert answer.shows == ids(store)[3]
    assert [outcome.version for outcome in answer.outcomes] == [image.version for image in store.images()[1::-1]]
    assert store.images()[1].state == "modified"


def test_a_message_that_comes_twice_writes_once(store: DatasetStore) -> None:
    again = edit(store, 1, "written once")
    first, second = tell(store, 1, again), tell(store, 1, again)
    assert first.outcomes == second.outcomes
    assert [entry.action for entry in store.history(again.id)] == ["add", "edit"]


def test_a_message_without_a_change_writes_nothing(store: DatasetStore) -> None:
    before = store.images()
    for ask in ("", "next", "previous", "unreviewed", "jump"):
        tell(store, 1, edit(store, 1), ask=ask, place=2)
    assert store.images() == before


def test_the_second_of_two_tabs_is_told_and_overwrites_nothing(store: DatasetStore) -> None:
    stale = edit(store, 1, "from the second tab")
    tell(store, 1, edit(store, 1, "from the first tab"))
    [outcome] = tell(store, 1, stale).outcomes
    assert outcome.conflict and outcome.theirs == "from the first tab"
    assert store.images()[1].caption == "from the first tab"
    [kept] = tell(store, 1, edit(store, 1, "mine after all", version=outcome.version)).outcomes
    assert not kept.conflict and store.images()[1].caption == "mine after all"


def test_asking_for_another_picture(store: DatasetStore) -> None:
    order = ids(store)
    assert tell(store, 1, ask="next").shows == order[2]
    assert tell(store, 1, ask="previous").shows == order[0]
    last = tell(store, 3, ask="next")
    assert last.shows == order[3] and last.note
    assert [tell(store, 1, ask="jump", place=place).shows for place in (-5, 3, 99)] == [order[0], order[2], order[3]]
    tell(store, 1, edit(store, 2, "mine"), edit(store, 3, "mine too"))
    assert tell(store, 1, ask="unreviewed").shows == order[0]


def test_approve_undo_and_redo(store: DatasetStore) -> None:
    tell(store, 1, edit(store, 1, "better", approve=True))
    assert (store.images()[1].caption, store.images()[1].state) == ("better", "approved")
    assert tell(store, 1, ask="undo").note and tell(store, 1, ask="undo").note
    assert (store.images()[1].caption, store.images()[1].state) == ("a cat on a mat", "not modified")
    assert "nothing to undo" in tell(store, 1, ask="undo").error
    tell(store, 1, ask="redo")
    assert (store.images()[1].caption, store.images()[1].state) == ("better", "modified")
    [nothing] = tell(store, 3, edit(store, 3, approve=True)).outcomes
    assert nothing.error and store.images()[3].state == "not modified"


def test_an_undo_of_what_somebody_else_wrote_is_refused(store: DatasetStore) -> None:
    image = store.images()[1]
    store.set_caption(image.id, "from elsewhere", "person:other", image.version)
    message = Message(store.name, 1, image.id, ask="undo", id=image.id, version=image.version)
    assert "changed elsewhere" in captioning.act(store, Query(), message).error
    assert store.images()[1].caption == "from elsewhere"


def test_delete_shows_the_next_and_can_be_taken_back(store: DatasetStore) -> None:
    order = ids(store)
    answer = tell(store, 1, ask="delete")
    assert (answer.shows, answer.deleted, ids(store)) == (order[2], order[1], [order[0], *order[2:]])
    back = captioning.act(store, Query(), Message(store.name, 2, order[2], ask="restore", id=answer.deleted))
    assert back.shows == order[1] and ids(store) == order
    tell(store, 0, ask="exclude")
    assert store.images()[0].excluded and store.images()[0].caption == HOSTILE


def test_the_window_holds_a_picture_that_left_the_filter_at_its_place(store: DatasetStore) -> None:
    order = ids(store)
    tell(store, 1, edit(store, 1, "mine"))
    window = captioning.window(store, Query(state="not modified"), order[1])
    assert [image.id for image in window.images] == order
    assert (window.index, window.total) == (None, 3)
    inside = captioning.window(store, Query(state="not modified"), order[2])
    assert [image.id for image in inside.images] == [order[0], *order[2:]]
    assert (inside.index, inside.total) == (1, 3)


def test_a_message_of_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match="ask"):
        from_json(Message, {"dataset": "cats", "number": 1, "shows": "x", "ask": "format the disk"})


# ---------------------------------------------------------------- the door for pictures


@pytest.fixture
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=files.routes()), base_url="http://127.0.0.1") as client:
        yield client


def test_pictures_and_thumbnails_are_served_by_sha256(store: DatasetStore, client: TestClient) -> None:
    image = store.images()[0]
    store.add(picture(3, 600), "large.png")
    large = store.images()[-1]
    whole, thumb = client.get(files.picture_url("cats", image.id)), client.get(files.thumb_url("cats", large.id))
    assert whole.status_code == 200 and whole.headers["content-type"] == "image/png"
    assert whole.content == store.image_path(image.id).read_bytes()
    assert thumb.status_code == 200 and thumb.headers["content-type"] == "image/jpeg"
    assert "immutable" in thumb.headers["cache-control"]


def test_tokens_are_counted_while_a_caption_is_written(store: DatasetStore, client: TestClient) -> None:
    url = files.tokens_url("cats")
    few, many = client.post(url, content="a cat").json(), client.post(url, content="a cat " * 100).json()
    assert (few["count"], few["cut"]) == (4, "") and few["limit"] == many["limit"] == store.tokenizer().limit
    assert many["count"] == 202 and many["cut"].endswith("a cat ")
    assert client.post(files.tokens_url("dogs"), content="a dog").status_code == 404
    assert client.post(url, content="x" * 200_000).status_code == 413
    assert client.post(url, content="a cat", headers={"host": "evil.example"}).status_code == 403


def test_only_pictures_of_jobs_are_served(workspace: Workspace, store: DatasetStore, client: TestClient) -> None:
    job = jobs.submit(workspace, "generate", GenerateConfig(prompts=["a cat"]))
    (job.folder / "one two.png").write_bytes(picture(1))
    assert client.get(files.job_png_url(workspace, job.folder / "one two.png")).content == picture(1)
    (job.folder / "link.png").symlink_to(store.folder / "captions.db")
    secret = f"/files/images/{job.id}"
    for path in (
        f"{secret}/config.json",
        f"{secret}/link.png",
        f"{secret}/missing.png",
        f"{secret}/..%2f..%2fdatasets%2fcats%2fcaptions.db",
        f"/files/thumbs/cats/{'0' * 64}",
        "/files/pictures/cats/..%2f..%2fcaptions.db",
        "/files/pictures/..%2fcats/x",
        "/files/tasks/x/y.png",
        "/files/datasets/cats/images/x.png",
    ):
        assert client.get(path).status_code == 404, path


def test_a_foreign_host_name_gets_no_picture(store: DatasetStore, client: TestClient) -> None:
    url = files.thumb_url("cats", store.images()[0].id)
    assert client.get(url, headers={"host": "evil.example"}).status_code == 403


def test_the_defaults_are_safe() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    server = config["server"]
    assert server["address"] == "127.0.0.1" and set(server["allowedHosts"]) == {"127.0.0.1", "localhost"}
    assert server["enableXsrfProtection"] and server["xsrfCookieSameSite"] == "strict"
    assert server["fileWatcherType"] == "none" and server["headless"] and server["maxUploadSize"] == 50
    assert config["browser"]["gatherUsageStats"] is False
    assert config["client"]["showErrorDetails"] == "none"


# ---------------------------------------------------------------- words


def test_words_of_people_are_escaped() -> None:
    assert literal("a *b* [c](d) :red[e] $f$ `g`") == r"a \*b\* \[c\]\(d\) \:red\[e\] \$f\$ \`g\`"


def test_counts_and_spans_read_well() -> None:
    assert (count(1, "picture"), count(1200, "picture"), count(2, "batch", "batches")) == (
        "1 picture",
        "1,200 pictures",
        "2 batches",
    )
    assert (duration(41.6), duration(125), duration(7500)) == ("42 s", "2 min 5 s", "2 h 5 min")
    assert ago(0).endswith("days ago")
