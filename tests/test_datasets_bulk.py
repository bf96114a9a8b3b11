"""Bulk edits: exactly these pictures, one undo step, nobody overwritten in silence."""

import io

import pytest
from PIL import Image

from sdstudio.datasets import create_dataset, open_dataset
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.bulk import AppendTag, FindReplace, Mark, Prefix, Suffix
from sdstudio.datasets.query import Query
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace

ANN, BOB = "person:ann", "person:bob"
CAPTIONS = ("a red dog", "a Red cat, night", "", "two red reds")


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def store(ws):
    store = create_dataset(ws, "set")
    colours = ("red", "green", "blue", "white")
    news = [
        NewPicture(data=png(colour), file_name=colour, caption=text)
        for colour, text in zip(colours, CAPTIONS, strict=True)
    ]
    assert [outcome.is_new for outcome in store.add_many(news)] == [True] * 4
    return store


def captions(store) -> tuple[str, ...]:
    return tuple(image.caption for image in store.images())


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (FindReplace(find="red", replacement="blue"), ("a blue dog", "a blue cat, night", "", "two blue blues")),
        (
            FindReplace(find="red", replacement="blue", match_case=True),
            ("a blue dog", "a Red cat, night", "", "two blue blues"),
        ),
        (
            FindReplace(find=r"\bred\b", replacement=r"\g<0>ish", regex=True),
            ("a redish dog", "a Red cat, night", "", "two redish reds"),
        ),
        (FindReplace(find="a r(e)d", replacement=r"\1", regex=True), ("e dog", "a Red cat, night", "", "two red reds")),
        (FindReplace(find="d", replacement=r"\1"), (r"a re\1 \1og", r"a Re\1 cat, night", "", r"two re\1 re\1s")),
        (FindReplace(find="."), CAPTIONS),
        (Prefix(text="asim,"), ("asim, a red dog", "asim, a Red cat, night", "asim,", "asim, two red reds")),
        (Prefix(text="a "), ("a red dog", "a Red cat, night", "a", "a two red reds")),
        (
            Suffix(text="in colour"),
            ("a red dog in colour", "a Red cat, night in colour", "in colour", "two red reds in colour"),
        ),
        (Suffix(text=", night"), ("a red dog, night", "a Red cat, night", ", night", "two red reds, night")),
        (AppendTag(tag="Night"), ("a red dog, Night", "a Red cat, night", "Night", "two red reds, Night")),
    ],
    ids=str,
)
def test_a_change_is_previewed_done_undone_and_redone(ws, store, change, after):
    before = store.images()
    preview = store.preview(Query(), change)
    assert store.images() == before
    changed = [(old.id, old.caption, new) for old, new in zip(before, after, strict=True) if old.caption != new]
    assert (preview.count, preview.unchanged, list(preview.samples)) == (len(changed), 4 - len(changed), changed)
    result = store.bulk(Query(), change, ANN, preview.stamp)
    assert (result.changed, result.unchanged, result.conflicts) == (len(changed), 4 - len(changed), ())
    assert captions(store) == after
    for old, new in zip(before, store.images(), strict=True):
        same = old.caption == new.caption
        assert new == old if same else (new.source, new.state, new.version) == (ANN, "modified", old.version + 1)
    if not changed:
        assert store.bulk_log() == []
        return
    reopened = open_dataset(ws, "set")
    assert reopened.undo_bulk(ANN).changed == len(changed)
    assert [(image.caption, image.source, image.state) for image in store.images()] == [
        (image.caption, image.source, image.state) for image in before
    ]
    assert open_dataset(ws, "set").redo_bulk(ANN).changed == len(changed)
    assert captions(store) == after


def test_exactly_the_chosen_ones_are_changed(store):
    first, second, *_ = store.images()
    result = store.bulk([second.id, first.id, second.id], Prefix(text="x"), ANN)
    assert result.changed == 2
    assert captions(store) == ("x a red dog", "x a Red cat, night", *CAPTIONS[2:])
    store.bulk(Query(contains="dog"), Suffix(text="!"), ANN)
    assert captions(store)[0] == "x a red dog!"
    assert captions(store)[1:] == ("x a Red cat, night", *CAPTIONS[2:])


def test_an_unknown_id_changes_nothing(store):
    with pytest.raises(UserError, match="no picture '0000"):
        store.bulk([store.images()[0].id, "0" * 64], Prefix(text="x"), ANN)
    assert captions(store) == CAPTIONS
    assert store.bulk_log() == []


def test_what_changed_after_the_preview_is_left_alone_and_reported(store):
    first, second, *_ = store.images()
    preview = store.preview(Query(), Prefix(text="x"))
    store.set_caption(first.id, "mine", BOB, first.version)
    late = store.add(png("yellow"), "late", "came late")[0]
    result = store.bulk(Query(), Prefix(text="x"), ANN, preview.stamp)
    assert set(result.conflicts) == {first.id, late}
    assert (result.changed, result.unchanged) == (3, 0)
    assert store.image(first.id).caption == "mine"
    assert store.image(second.id).caption == f"x {CAPTIONS[1]}"


def test_the_other_tab_gets_a_conflict_from_a_bulk_edit(store):
    from sdstudio.datasets import Conflict

    first, *_ = store.images()
    store.bulk([first.id], Mark(what="delete"), ANN)
    with pytest.raises(Conflict, match="was deleted meanwhile"):
        store.set_caption(first.id, "typed meanwhile", BOB, first.version)
    assert store.image(first.id).caption == CAPTIONS[0]


def test_undo_leaves_alone_what_was_edited_since(store):
    first, second, *_ = store.images()
    store.bulk([first.id, second.id], Prefix(text="x"), ANN)
    edited = store.set_caption(first.id, "better", BOB, store.image(first.id).version)
    result = store.undo_bulk(ANN)
    assert (result.changed, result.conflicts) == (1, (first.id,))
    assert store.image(first.id) == edited
    assert store.image(second.id).caption == CAPTIONS[1]
    with pytest.raises(UserError, match="no bulk edit to undo"):
        store.undo_bulk(ANN)


def test_undo_of_one_picture_goes_through_a_bulk_edit(store):
    first, *_ = store.images()
    store.bulk(Query(), Prefix(text="x"), ANN)
    assert store.undo(first.id).caption == CAPTIONS[0]
    assert store.undo_bulk(ANN).conflicts == (first.id,)
    assert captions(store) == CAPTIONS
    assert store.redo(first.id).caption == f"x {CAPTIONS[0]}"


def test_everybody_undoes_their_own(store):
    store.bulk(Query(contains="dog"), Suffix(text="by ann"), ANN)
    store.bulk(Query(contains="cat"), Suffix(text="by bob"), BOB)
    assert store.undo_bulk(ANN).changed == 1
    assert captions(store)[:2] == (CAPTIONS[0], f"{CAPTIONS[1]} by bob")
    assert [(entry.who, entry.changed, entry.undone) for entry in store.bulk_log()] == [(BOB, 1, False), (ANN, 1, True)]


def test_several_steps_back_and_forth(store):
    for text in ("1", "2", "3"):
        store.bulk(Query(contains="dog"), Suffix(text=text), ANN)
    seen = [captions(store)[0]]
    for _ in range(3):
        store.undo_bulk(ANN)
        seen.append(captions(store)[0])
    for _ in range(2):
        store.redo_bulk(ANN)
        seen.append(captions(store)[0])
    d = "a red dog"
    assert seen == [f"{d} 1 2 3", f"{d} 1 2", f"{d} 1", d, f"{d} 1", f"{d} 1 2"]
    store.bulk(Query(contains="dog"), Suffix(text="new"), ANN)
    with pytest.raises(UserError, match="no bulk edit to redo"):
        store.redo_bulk(ANN)
    assert store.undo_bulk(ANN).changed == 1
    assert captions(store)[0] == f"{d} 1 2"


def test_marks_keep_words_and_leave_snapshots(store):
    first, second, third, fourth = store.images()
    assert store.bulk(Query(), Mark(what="approve"), ANN).changed == 3  # one has no caption
    assert [image.state for image in store.images()] == ["approved", "approved", "not modified", "approved"]
    store.bulk([first.id], Mark(what="exclude"), ANN)
    store.bulk([second.id], Mark(what="delete"), ANN)
    assert (store.image(first.id).excluded, store.image(second.id).deleted) == (True, True)
    assert store.image(second.id).source == "file"
    assert [image.id for image in store.images()] == [first.id, third.id, fourth.id]
    assert {image.id for image in store.snapshot().images} == {third.id, fourth.id}
    assert store.counts() == (3, 2, 2)
    assert store.ids(Query(deleted=True)) == [second.id]
    assert store.add(png("green"), "again", "again") == (second.id, False)
    assert store.image(second.id).deleted
    store.undo_bulk(ANN)
    assert len(store.images()) == 4
    store.bulk([first.id], Mark(what="include"), ANN)
    assert len(store.snapshot().images) == 4
    entries = [(entry.action, entry.excluded, entry.deleted) for entry in store.history(second.id)]
    assert entries == [
        ("add", False, False),
        ("approve", False, False),
        ("delete", False, True),
        ("undo", False, False),
    ]


def test_a_deleted_picture_said_by_an_import(store):
    first, *_ = store.images()
    store.bulk([first.id], Mark(what="delete"), ANN)
    (outcome,) = store.add_many([NewPicture(data=png("red"), file_name="red")])
    assert (outcome.is_new, outcome.deleted) == (False, True)


def test_nothing_left_is_said(store):
    store.bulk(Query(), Mark(what="exclude"), ANN)
    with pytest.raises(UserError, match="has no pictures"):
        store.snapshot()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (FindReplace(find=""), "nothing to find"),
        (FindReplace(find="(", regex=True), "not a valid pattern"),
        (FindReplace(find="a", replacement=r"\2", regex=True), "cannot be put in its place"),
        (Prefix(text="  "), "no words to add"),
        (AppendTag(tag="\n"), "no words to add"),
    ],
    ids=str,
)
def test_a_change_that_cannot_be_done_is_said_and_not_done(store, change, message):
    for ask in (store.preview, store.bulk):
        with pytest.raises(UserError, match=message):
            ask(Query(), change)
    assert captions(store) == CAPTIONS


def test_redo_of_one_picture(store):
    first, *_ = store.images()
    store.set_caption(first.id, "one", ANN, 1)
    store.set_caption(first.id, "two", ANN, 2)
    store.undo(first.id)
    store.undo(first.id)
    assert store.redo(first.id).caption == "one"
    redone = store.redo(first.id, BOB)
    assert (redone.caption, redone.source) == ("two", ANN)
    assert store.history(first.id)[-1].who == BOB
    with pytest.raises(UserError, match="nothing to redo for red"):
        store.redo(first.id)
    store.undo(first.id)
    store.set_caption(first.id, "three", ANN, store.image(first.id).version)
    with pytest.raises(UserError, match="nothing to redo"):
        store.redo(first.id)
