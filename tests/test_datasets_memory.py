"""Answers that were brought up to date are those that asking anew gives.   pytest tests/test_datasets_memory.py"""

import io
import random

import pytest
from PIL import Image

from sdstudio.datasets import DatasetStore, create_dataset, memory, query
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.bulk import FindReplace, Mark, Prefix
from sdstudio.datasets.patterns import Pattern
from sdstudio.datasets.query import Query
from sdstudio.workspace import Workspace

WORDS = "asim red hair woman dog".split()  # noqa: SIM905
QUERIES = (
    Query(),
    Query(contains="RED"),
    Query(regex=r"^asim.*dog$"),
    Query(without="hair", state="modified"),
    Query(state="not modified"),
    Query(empty=True),
    Query(excluded=False, source="person:"),
    Query(deleted=True),
    Query(differs=True),
    Query(too_long=True),
    Query(duplicate_caption=True),
    Query(contains="dog", descending=True),
    Query(sort="caption"),
)


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def new(number: int, caption: str) -> NewPicture:
    return NewPicture(data=picture(number), file_name=f"{number}.png", caption=caption)


@pytest.fixture
def store(tmp_path):
    store = create_dataset(Workspace(tmp_path), "set")
    list(store.add_many(new(number, "asim red dog" if number % 3 else "") for number in range(30)))
    return store


def asked_anew(store: DatasetStore, wanted: Query) -> list[str]:
    limit = store._ready(wanted)
    with store._database.read() as connection:
        return query.ids(connection, query.find(connection, wanted, limit))


def change_something(store: DatasetStore, chosen: random.Random, number: int) -> None:
    image = store.image(chosen.choice(store.ids(Query()) or store.ids(Query(deleted=True))))
    text = " ".join(chosen.choices(WORDS, k=chosen.choice((0, 2, 5, 90))))
    some = chosen.sample(store.ids(Query()), 3)
    what = chosen.randrange(8)
    if what < 3:
        store.set_caption(image.id, text, "person:ann", image.version)
    elif what == 3:
        store.set_machine_caption(image.id, text, "captioner:blip")
    elif what == 4:
        store.bulk(some, Mark(what=chosen.choice(("exclude", "include", "delete", "approve"))))
    elif what == 5:
        store.bulk(store.ids(Query(deleted=True)), Mark(what="restore"))
    elif what == 6:
        store.bulk(some, Prefix(text="asim"))
    else:
        list(store.add_many([new(1000 + number, text)]))


@pytest.mark.parametrize("few", [3, 200])
def test_answers_follow_every_kind_of_change(store, monkeypatch, few):
    monkeypatch.setattr(memory, "_FEW", few)
    chosen = random.Random(few)
    for number in range(20):
        change_something(store, chosen, number)
        for wanted in QUERIES:
            assert store.ids(wanted) == asked_anew(store, wanted), (number, wanted)
        images = store.images()
        captioned = sum(bool(image.caption) for image in images)
        by_person = sum(image.state != "not modified" for image in images)
        assert store.counts() == (len(images), captioned, by_person)
        sources = [image.source for image in images if image.source]
        assert dict(store.sources()) == {source: sources.count(source) for source in set(sources)}


def test_a_search_after_a_save_reads_one_caption(store, monkeypatch):
    read: list[int] = []
    monkeypatch.setattr(Pattern, "matching", lambda self, captions: (read.append(len(captions)), captions)[1])
    wanted = Query(regex="dog")
    store.count(wanted)
    image = store.images()[0]
    store.set_caption(image.id, "a cat", "person:ann", image.version)
    store.count(wanted)
    store.count(wanted)
    assert read == [30, 1]


def test_an_answer_is_not_taken_for_that_of_an_older_copy(store):
    backup = (store.folder / "captions.db").read_bytes()
    image = store.images()[0]
    store.set_caption(image.id, "a lynx", "person:ann", image.version)
    assert store.count(Query(contains="lynx")) == 1
    (store.folder / "captions.db").write_bytes(backup)
    assert store.count(Query(contains="lynx")) == 0


def test_undo_of_a_bulk_edit_is_followed(store):
    wanted = Query(contains="lion")
    assert store.count(wanted) == 0
    store.bulk(Query(contains="dog"), FindReplace(find="dog", replacement="lion"))
    assert store.count(wanted) == 20
    store.undo_bulk()
    assert store.count(wanted) == 0
