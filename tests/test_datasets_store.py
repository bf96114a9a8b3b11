"""The caption store: nothing acknowledged is lost, nobody is overwritten in silence, the past can be undone."""

import io
import time
from dataclasses import replace

import pytest
from PIL import Image

from sdstudio.datasets import Conflict, create_dataset, list_datasets, open_dataset
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.database import Database
from sdstudio.datasets.snapshots import diff
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace

BLIP = "captioner:blip"
ANN, BOB = "person:ann", "person:bob"


def png(colour, size=(16, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def store(ws):
    return create_dataset(ws, "set", "a set")


@pytest.fixture
def red(store):
    id, _ = store.add(png("red"), "red.png", "a red thing")
    return id


# ---------------------------------------------------------------- datasets


def test_a_dataset_is_made_listed_and_opened(ws, store, red):
    store.add(png("blue"), "blue.png")
    store.set_caption(red, "mine", ANN, 1)
    create_dataset(ws, "another")
    empty, full = list_datasets(ws)
    assert (empty.name, empty.images) == ("another", 0)
    assert (full.name, full.description, full.images, full.captioned, full.modified) == ("set", "a set", 2, 1, 1)
    assert open_dataset(ws, "set").images() == store.images()
    assert store.progress() == (1, 2)
    assert sorted(path.name for path in ws.datasets.iterdir()) == ["another", "set"]


def test_wrong_names_are_said(ws, store):
    with pytest.raises(UserError, match="already is a dataset 'set'"):
        create_dataset(ws, "set")
    with pytest.raises(UserError, match="not a usable dataset name"):
        create_dataset(ws, "../escape")
    with pytest.raises(UserError, match="no dataset 'sett'; choose one of set"):
        open_dataset(ws, "sett")
    assert [path.name for path in ws.root.rglob("*") if path.is_dir() and path.parent == ws.datasets] == ["set"]


def test_the_first_dataset_is_asked_for(ws):
    with pytest.raises(UserError, match="import a folder first"):
        open_dataset(ws, "set")
    assert list_datasets(ws) == []


def test_a_damaged_store_is_one_line_not_the_end_of_the_list(ws, store):
    create_dataset(ws, "good")
    (store.folder / "captions.db").write_bytes(b"this is no database " * 100)
    good, damaged = list_datasets(ws)
    assert (good.name, good.error) == ("good", "")
    assert damaged.name == "set"
    assert "not a database" in damaged.error
    with pytest.raises(UserError, match="caption store of dataset 'set' cannot be used"):
        open_dataset(ws, "set")


def test_a_store_of_a_newer_studio_is_left_alone(ws, store):
    with Database(store.folder / "captions.db", "store").write() as connection:
        connection.execute("INSERT INTO migration VALUES (99, 0)")
    with pytest.raises(UserError, match="newer SD Studio"):
        open_dataset(ws, "set")


def test_a_copied_dataset_means_the_same(ws, store, red):
    snapshot = store.snapshot()
    store.folder.rename(ws.datasets / "renamed")
    moved = open_dataset(ws, "renamed")
    assert moved.name == moved.load_snapshot(snapshot.hash).dataset == "renamed"
    assert moved.image(red).caption == "a red thing"
    assert Image.open(moved.image_path(red)).getpixel((0, 0)) == (255, 0, 0)
    with pytest.raises(UserError, match="unable to open"):
        store.images()
    assert not store.folder.exists()


# ---------------------------------------------------------------- pictures


def test_a_picture_is_stored_by_the_hash_of_its_bytes(store, red):
    image = store.image(red)
    assert (image.file_name, image.width, image.height, image.caption) == ("red.png", 16, 8, "a red thing")
    assert (image.source, image.state) == ("file", "not modified")
    assert store.image_path(red) == store.folder / "images" / f"{red}.png"
    assert store.image_path(red).read_bytes() == png("red")


def test_what_a_model_learns_from_is_told_without_the_pictures(store, red):
    ids = [store.add(png(colour), f"{colour}.png", caption)[0] for colour, caption in (
        ("blue", "a blue thing"), ("green", ""), ("white", "left out"), ("black", "thrown away"),
    )]  # fmt: skip
    store.bulk([ids[2]], Mark(what="exclude"))
    store.bulk([ids[3]], Mark(what="delete"))
    assert store.trained_captions() == ["a red thing", "a blue thing"]
    assert store.image_paths() == {id: store.image_path(id) for id in (red, *ids)}


def test_a_large_picture_has_a_small_thumb(store):
    id, _ = store.add(png("red", (1000, 500)), "red.png")
    thumb = Image.open(store.thumb_path(id))
    assert (thumb.format, thumb.size) == ("JPEG", (256, 128))
    small, _ = store.add(png("red"), "small.png")
    assert store.thumb_path(small) == store.image_path(small)


def test_the_same_picture_is_stored_once(store, red):
    assert store.add(png("red"), "copy.png", "other words") == (red, False)
    assert len(store.images()) == 1
    assert store.image(red).caption == "a red thing"


def test_a_picture_that_was_stored_anew_is_known_by_what_came_in(store):
    buffer = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 100, 100, 0)).save(buffer, "JPEG")
    id, is_new = store.add(buffer.getvalue(), "print.jpg")
    assert is_new
    assert store.add(buffer.getvalue(), "print.jpg") == (id, False)
    assert store.add(store.image_path(id).read_bytes(), "again.png") == (id, False)


def test_a_later_sidecar_fills_only_an_untouched_empty_caption(store):
    id, _ = store.add(png("red"), "red.png")
    assert store.image(id).source == ""
    store.add(png("red"), "red.png", "from a file")
    assert (store.image(id).caption, store.image(id).source) == ("from a file", "file")
    store.set_caption(id, "", ANN, store.image(id).version)
    store.add(png("red"), "red.png", "from a file")
    assert store.image(id).caption == ""


def test_a_refused_picture_leaves_nothing(store):
    with pytest.raises(UserError, match="not a PNG"):
        store.add(b"text", "text.png")
    assert store.images() == []
    assert list((store.folder / "images").iterdir()) == list((store.folder / "thumbs").iterdir()) == []


def test_a_lost_or_empty_thumb_is_made_again_and_a_lost_picture_is_said(store):
    id, _ = store.add(png("red", (300, 200)), "red.png")
    store.thumb_path(id).unlink()
    assert Image.open(store.thumb_path(id)).size == (256, 171)
    store.thumb_path(id).write_bytes(b"")
    assert Image.open(store.thumb_path(id)).size == (256, 171)
    store.thumb_path(id).unlink()
    store.image_path(id).write_bytes(b"gone")
    with pytest.raises(UserError, match="cannot be read; import it again"):
        store.thumb_path(id)


@pytest.mark.parametrize("id", ["", "../../captions", "0" * 64])
def test_unknown_ids_reach_no_file(store, red, id):
    for ask in (store.image, store.image_path, store.thumb_path, store.history, store.undo):
        with pytest.raises(UserError, match="has no picture"):
            ask(id)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a/b c.png", "a/b c.png"),
        ("../../etc/x.png", "etc/x.png"),
        ("/etc/x.png", "etc/x.png"),
        ("C:\\photos\\x.png", "C_/photos/x.png"),
        ("new\nline\0.png", "new_line_.png"),
        ("caf\udce9.png", "caf_.png"),
        ("..", "picture"),
    ],
)
def test_file_names_are_relative_and_plain(store, name, kept):
    id, _ = store.add(png("red"), name)
    assert store.image(id).file_name == kept


# ---------------------------------------------------------------- captions


def test_an_edit_needs_the_version_that_was_read(ws, store, red):
    mine, other = open_dataset(ws, "set"), open_dataset(ws, "set")
    seen = other.image(red).version
    edited = mine.set_caption(red, "first", ANN, mine.image(red).version)
    assert (edited.caption, edited.source, edited.state, edited.version) == ("first", ANN, "modified", seen + 1)
    with pytest.raises(Conflict, match=r"red\.png was changed meanwhile") as caught:
        other.set_caption(red, "second", BOB, seen)
    assert caught.value.current == edited == store.image(red)
    assert other.set_caption(red, "second", BOB, caught.value.current.version).caption == "second"
    with pytest.raises(Conflict):
        mine.approve(red, edited.version)


def test_saving_the_same_again_changes_nothing(store, red):
    first = store.set_caption(red, "mine", ANN, 1)
    assert store.set_caption(red, " mine\n", ANN, first.version) == first
    assert len(store.history(red)) == 2


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" a\r\n b \n\nc ", "a b c"),
        ("two  spaces", "two  spaces"),
        ("nul\0\ud800", "nul?"),
        ("naïve 猫 😀", "naïve 猫 😀"),
    ],
)
def test_a_caption_is_one_line_of_text(store, red, typed, stored):
    assert store.set_caption(red, typed, ANN, 1).caption == stored
    assert store.image(red).caption == stored


def test_a_draft_never_overwrites_a_person(store, red):
    drafted = store.set_machine_caption(red, "draft one", BLIP)
    assert (drafted.caption, drafted.source, drafted.state) == ("draft one", BLIP, "not modified")
    assert store.set_machine_caption(red, "draft one", BLIP).version == drafted.version
    mine = store.set_caption(red, "mine", ANN, drafted.version)
    beside = store.set_machine_caption(red, "draft two", BLIP)
    assert (beside.caption, beside.source, beside.machine_caption) == ("mine", ANN, "draft two")
    assert beside.version == mine.version  # the person's next save must not fail
    cleared = store.set_caption(red, "", ANN, mine.version)
    assert store.set_machine_caption(red, "draft three", BLIP).caption == cleared.caption == ""


def test_an_approved_draft_stays(store, red):
    drafted = store.set_machine_caption(red, "draft", BLIP)
    approved = store.approve(red, drafted.version, who=ANN)
    assert (approved.caption, approved.source, approved.state) == ("draft", BLIP, "approved")
    assert store.approve(red, approved.version) == approved
    assert store.set_machine_caption(red, "better", BLIP).caption == "draft"
    assert store.progress() == (1, 1)
    assert store.set_caption(red, "edited", ANN, approved.version).state == "modified"


def test_an_empty_caption_is_not_approved(store):
    id, _ = store.add(png("red"), "red.png")
    with pytest.raises(UserError, match="no caption to approve"):
        store.approve(id, 1)


def test_history_says_who_when_and_what(store, red):
    before = time.time()
    store.set_machine_caption(red, "draft", BLIP)
    store.set_caption(red, "mine", ANN, 2)
    store.set_machine_caption(red, "draft two", BLIP)
    store.approve(red, 3, who=BOB)
    store.undo(red, who=BOB)
    entries = store.history(red)
    assert [(entry.who, entry.action, entry.caption, entry.version) for entry in entries] == [
        ("file", "add", "a red thing", 1),
        (BLIP, "draft", "draft", 2),
        (ANN, "edit", "mine", 3),
        (BLIP, "aside", "draft two", 3),
        (BOB, "approve", "mine", 4),
        (BOB, "undo", "mine", 5),
    ]
    assert entries[0].time <= before <= entries[1].time <= entries[-1].time <= time.time()


@pytest.mark.parametrize("statement", ["DELETE FROM history", "UPDATE history SET caption = 'forged'"])
def test_history_cannot_be_rewritten(store, red, statement):
    with pytest.raises(UserError, match="append-only"), store._database.write() as connection:
        connection.execute(statement)
    assert [entry.caption for entry in store.history(red)] == ["a red thing"]


def test_undo_walks_back_to_the_beginning(store, red):
    store.set_machine_caption(red, "draft", BLIP)
    store.set_caption(red, "one", ANN, 2)
    store.set_machine_caption(red, "ignored", BLIP)
    store.set_caption(red, "two", BOB, 3)
    undone = [store.undo(red) for _ in range(3)]
    assert [(image.caption, image.source, image.state) for image in undone] == [
        ("one", ANN, "modified"),
        ("draft", BLIP, "not modified"),
        ("a red thing", "file", "not modified"),
    ]
    assert [image.version for image in undone] == [5, 6, 7]
    with pytest.raises(UserError, match=r"nothing to undo for red\.png"):
        store.undo(red)
    store.set_caption(red, "three", ANN, 7)
    assert store.undo(red).caption == "a red thing"


# ---------------------------------------------------------------- snapshots


def test_a_snapshot_never_changes(store, red):
    first = store.snapshot()
    store.set_caption(red, "other", ANN, 1)
    second = store.snapshot()
    assert first.hash != second.hash
    assert store.load_snapshot(first.hash) == first
    assert [image.caption for image in first.images] == ["a red thing"]
    store.undo(red)
    assert store.snapshot() == first
    assert {path.stem for path in (store.folder / "snapshots").iterdir()} == {first.hash, second.hash}


def test_equal_content_has_an_equal_hash(ws, store):
    twin = create_dataset(ws, "twin")
    for colour in ("red", "green"):
        store.add(png(colour), f"{colour}.png", colour)
    for colour in ("green", "red"):
        twin.add(png(colour), f"other-{colour}.png", colour, source=BLIP)
    assert twin.snapshot().hash == store.snapshot().hash


def test_a_changed_missing_or_foreign_snapshot_is_said(store, red):
    snapshot = store.snapshot()
    path = store.folder / "snapshots" / f"{snapshot.hash}.json"
    path.write_text(path.read_text().replace("a red thing", "a bed thing"))
    with pytest.raises(UserError, match="was changed after it was taken"):
        store.load_snapshot(snapshot.hash)
    for hash in ("0" * 64, "", "../captions"):
        with pytest.raises(UserError, match="There is no snapshot"):
            store.load_snapshot(hash)


def test_two_snapshots_are_compared(store, red):
    green, _ = store.add(png("green"), "green.png", "green")
    blue, _ = store.add(png("blue"), "blue.png", "blue")
    before = store.snapshot()
    store.set_caption(red, "a better red", ANN, 1)
    store.bulk([green], Mark(what="exclude"), ANN)
    white, _ = store.add(png("white"), "white.png", "white")
    store.save_settings(replace(store.settings(), fit="blur"))
    after = store.snapshot()
    changes = diff(before, after)
    assert [image.id for image in changes.added] == [white]
    assert [image.id for image in changes.removed] == [green]
    assert [(old.caption, new.caption) for old, new in changes.changed] == [("a red thing", "a better red")]
    assert changes.fit == ("centre", "blur")
    assert {image.id for image in after.images} == {red, blue, white}
    assert {info.hash for info in store.snapshots()} == {before.hash, after.hash}
    nothing = diff(after, store.load_snapshot(after.hash))
    assert (nothing.added, nothing.removed, nothing.changed) == ((), (), ())


def test_the_fit_is_part_of_a_snapshot(store, red):
    centre = store.snapshot()
    store.save_settings(replace(store.settings(), fit="smart"))
    smart = store.snapshot()
    assert (centre.fit, smart.fit) == ("centre", "smart")
    assert centre.hash != smart.hash
    assert store.load_snapshot(smart.hash) == smart


def test_an_empty_dataset_has_no_snapshot(store):
    with pytest.raises(UserError, match="has no pictures"):
        store.snapshot()
