"""The job that drafts captions: what it keeps, what it reports, what it does when memory is short; and tries."""

import dataclasses
import io
import json

import pytest
from PIL import Image
from tiny_captioners import make_blip, make_llava

from sdstudio.captioners import blip
from sdstudio.datasets import create_dataset
from sdstudio.datasets.captioning import run_caption
from sdstudio.datasets.trying import read_tries, run_try, try_captions
from sdstudio.jobs.context import JobContext
from sdstudio.schema import CaptionConfig, CaptionSetting, TryCaptionsConfig, UserError
from sdstudio.workspace import Workspace, read_json


@pytest.fixture(scope="module")
def hub_model(tmp_path_factory):
    return make_blip(tmp_path_factory.mktemp("hub") / "blip")


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return make_llava(tmp_path_factory.mktemp("hub") / "llava")


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def ctx(ws):
    folder = ws.root / "tasks" / "drafts"
    folder.mkdir(parents=True)
    return JobContext(ws, folder)


@pytest.fixture
def store(ws):
    store = create_dataset(ws, "set")
    for index, colour in enumerate(("red", "green", "blue", "white", "black")):
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
        store.add(buffer.getvalue(), f"{index}.png")
    return store


def config(hub_model, **settings):
    options = {"model": str(hub_model), "num_beams": 1, "min_length": 4, "max_length": 8, "batch_size": 2}
    return CaptionConfig(dataset="set", options=options, **settings)


def report_of(ctx):
    return read_json(ctx.folder / "report.json")


def test_the_job_drafts_every_picture_and_spares_people(store, ctx, hub_model):
    first, second, third, *_ = store.images()
    store.set_caption(first.id, "mine", "person:ann", first.version)
    store.set_caption(second.id, "", "person:ann", second.version)
    store.set_machine_caption(third.id, "an older draft", "captioner:other")
    run_caption(config(hub_model), ctx)
    images = store.images()
    assert [image.caption for image in images[:3]] == ["mine", "", "an older draft"]
    assert (images[0].machine_caption, images[2].machine_caption) == ("", "an older draft")
    assert images[1].machine_caption
    assert all(image.source == "captioner:blip" and image.caption for image in images[3:])
    report = report_of(ctx)
    assert (report["total"], report["drafted"], report["kept_beside"], report["failed"]) == (3, 2, 1, [])
    assert read_json(ctx.folder / "progress.json")["done"] == 3

    run_caption(config(hub_model, only_empty=False), ctx)
    images = store.images()
    assert [image.caption for image in images[:2]] == ["mine", ""]
    assert images[0].machine_caption
    assert images[2].caption != "an older draft"
    assert store.undo(third.id).caption == "an older draft"


def test_a_broken_picture_is_a_line_of_the_report(store, ctx, hub_model):
    broken, missing, *rest = store.images()
    store.image_path(broken.id).write_bytes(store.image_path(broken.id).read_bytes()[:30])
    store.image_path(missing.id).unlink()
    run_caption(config(hub_model), ctx)
    assert [line["file_name"] for line in report_of(ctx)["failed"]] == ["0.png", "1.png"]
    assert all(line["error"] for line in report_of(ctx)["failed"])
    assert report_of(ctx)["drafted"] == 3
    assert all(store.image(image.id).caption for image in rest)


def test_a_stop_keeps_the_drafts_so_far_and_the_next_run_goes_on(store, ctx, hub_model, monkeypatch):
    asked = iter([False, True])
    monkeypatch.setattr(JobContext, "should_stop", lambda self: next(asked, False))
    run_caption(config(hub_model), ctx)
    assert (report_of(ctx)["drafted"], report_of(ctx)["stopped"]) == (2, True)
    assert sum(bool(image.caption) for image in store.images()) == 2
    run_caption(config(hub_model), ctx)
    assert (report_of(ctx)["total"], report_of(ctx)["drafted"], report_of(ctx)["stopped"]) == (3, 3, False)


def test_nothing_to_do_is_no_error(store, ctx, hub_model):
    for image in store.images():
        store.set_caption(image.id, "mine", "person:ann", image.version)
    run_caption(CaptionConfig(dataset="set", options={"model": "never/loaded"}), ctx)
    assert report_of(ctx)["total"] == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dataset": "nowhere"}, "no dataset 'nowhere'"),
        ({"dataset": "empty"}, "'empty' has no pictures to caption"),
        ({"dataset": "set", "captioner": "parrot"}, "no captioner named 'parrot'; choose one of blip, image-text"),
        ({"dataset": "set", "options": {"beams": 3}}, "unknown key 'beams'"),
        ({"dataset": "set", "options": {"num_beams": 0}}, "num_beams is 0, the least is 1"),
    ],
)
def test_wrong_jobs_are_said(ws, store, ctx, settings, said):
    create_dataset(ws, "empty")
    with pytest.raises(UserError, match=said):
        run_caption(CaptionConfig(**settings), ctx)


def test_all_pictures_broken_is_an_error_with_a_report(store, ctx, hub_model):
    for image in store.images():
        store.image_path(image.id).unlink()
    with pytest.raises(UserError, match="None of the 5 pictures"):
        run_caption(config(hub_model), ctx)
    assert len(report_of(ctx)["failed"]) == 5
    assert json.dumps(report_of(ctx))


# ---------------------------------------------------------------- memory, and what breaks inside a model


class Hungry:
    """A captioner with room for two pictures: more of them, or one that is black, is too much for its memory."""

    def __init__(self):
        self.asked = []

    def __call__(self, pictures):
        self.asked.append(len(pictures))
        if len(pictures) > 2 or any(picture.getpixel((0, 0)) == (0, 0, 0) for picture in pictures):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return ["a draft"] * len(pictures)


@pytest.fixture
def hungry(monkeypatch):
    caption = Hungry()
    record = dataclasses.replace(blip.RECORD, load=lambda options, model, device: caption)
    monkeypatch.setattr("sdstudio.datasets.captioning.find_captioner", lambda name: record)
    return caption


def test_batches_become_smaller_where_memory_is_short(store, ctx, hungry, capsys):
    black = store.images()[-1]
    store.set_caption(black.id, "mine", "person:ann", black.version)
    run_caption(CaptionConfig(dataset="set", options={"batch_size": 3}), ctx)
    assert hungry.asked == [3, 2, 1, 1]
    assert (report_of(ctx)["drafted"], report_of(ctx)["error"]) == (4, "")
    assert "memory is short: 2 pictures at once from here on" in capsys.readouterr().out


def test_what_does_not_fit_even_alone_ends_the_job_with_what_was_kept(store, ctx, hungry):
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        run_caption(CaptionConfig(dataset="set", options={"batch_size": 5}), ctx)
    report = report_of(ctx)
    assert (report["drafted"], report["total"]) == (4, 5)
    assert "can't allocate memory" in report["error"]
    assert sum(image.caption == "a draft" for image in store.images()) == 4


def test_another_trouble_is_not_taken_for_memory(store, ctx, hungry):
    hungry.__class__ = type("Broken", (Hungry,), {"__call__": lambda self, pictures: 1 / 0})
    with pytest.raises(ZeroDivisionError):
        run_caption(CaptionConfig(dataset="set", options={"batch_size": 5}), ctx)
    assert report_of(ctx)["error"] == "division by zero"


# ---------------------------------------------------------------- trying


def test_settings_are_tried_side_by_side_and_nothing_is_stored(ws, store, ctx, hub_model, llava):
    ids = [image.id for image in store.images()[:2]]
    before = store.images()
    small = {"num_beams": 1, "min_length": 3, "max_length": 6}
    config = TryCaptionsConfig(
        dataset="set",
        ids=ids,
        settings=[
            CaptionSetting(captioner="blip", options={**small, "model": str(hub_model), "prefix": "one"}),
            CaptionSetting(captioner="blip", options={"model": str(hub_model / "nowhere")}),
            CaptionSetting(captioner="image-text", options={**small, "model": str(llava), "prefix": "three"}),
        ],
    )
    run_try(config, ctx)
    rows = read_tries(ctx.folder)
    assert [(row.setting, row.id) for row in rows] == [(number, id) for number in range(3) for id in ids]
    for row in rows:
        if row.setting == 1:
            assert "no model folder" in row.error
        else:
            assert row.caption.startswith(("one ", "three ")[row.setting // 2])
            assert row.seconds > 0
    assert store.images() == before
    progress = read_json(ctx.folder / "progress.json")
    assert (progress["done"], progress["total"]) == (6, 6)
    again = try_captions(ws, "set", ids, [("blip", {**small, "model": str(hub_model), "prefix": "one"})])
    assert [row.caption for row in again] == [row.caption for row in rows[:2]]


def test_a_broken_picture_or_model_is_said_in_its_own_cell(ws, store, hungry, monkeypatch):
    monkeypatch.setattr(
        "sdstudio.datasets.trying.find_captioner", lambda name: dataclasses.replace(blip.RECORD, load=lambda *_: hungry)
    )
    images = store.images()
    store.image_path(images[0].id).write_bytes(b"no picture")
    rows = try_captions(ws, "set", [images[0].id, images[1].id, images[4].id], [("blip", {})])
    assert [bool(row.error) for row in rows] == [True, False, True]
    assert "can't allocate memory" in rows[2].error


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ids": [], "settings": [("blip", {})]}, "nothing to try"),
        ({"ids": ["first"], "settings": []}, "nothing to try"),
        ({"ids": ["0" * 64], "settings": [("blip", {})]}, "has no picture"),
        ({"ids": ["first"], "settings": [("parrot", {})]}, "no captioner named 'parrot'"),
        ({"ids": ["first"], "settings": [("blip", {"beams": 3})]}, "unknown key 'beams'"),
    ],
)
def test_wrong_tries_are_said(ws, store, settings, said):
    ids = [store.images()[0].id if id == "first" else id for id in settings["ids"]]
    with pytest.raises(UserError, match=said):
        try_captions(ws, "set", ids, settings["settings"])
