"""Filters, order and neighbours: every answer is held against a plain loop over the pictures."""

import io
import random
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdstudio.datasets import create_dataset, patterns
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.query import Query
from sdstudio.schema import UserError, from_json, to_json
from sdstudio.workspace import Workspace

ANN, BLIP = "person:ann", "captioner:blip"
WORDS = "asim Asim red hair woman man Straße éclair 100% under_score dog. (cat) \\d [slot]".split()  # noqa: SIM905


def picture(seed: int, size=(96, 64)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """60 pictures in every state: edited, approved, drafted, excluded, deleted, alike, with equal captions."""
    chosen = random.Random(3)
    store = create_dataset(Workspace(tmp_path_factory.mktemp("query")), "set")
    news = [
        NewPicture(
            data=picture(index // 2 if index < 8 else index, (96 + index % 3, 64 + index % 2)),
            file_name=f"{chosen.choice('abAB')}/{index}.png",
            caption=" ".join(chosen.choices(WORDS, k=chosen.choice((0, 1, 3, 9, 45)))),
        )
        for index in range(60)
    ]
    for outcome in store.add_many(news):
        image = store.image(outcome.id)
        happens = chosen.randrange(5)
        if happens == 0:
            store.set_caption(image.id, chosen.choice(("the same", "The Same", "other words")), ANN, image.version)
        elif happens == 1:
            store.set_machine_caption(image.id, "a drafted dog.", BLIP)
        elif happens == 2 and image.caption:
            store.approve(image.id, image.version)
        elif happens == 3:
            store.set_caption(image.id, image.caption + " mine", ANN, image.version)
            store.set_machine_caption(image.id, "a draft beside", BLIP)
    everything = store.ids(Query())
    store.bulk(chosen.sample(everything, 9), Mark(what="exclude"))
    store.bulk(chosen.sample(everything, 9), Mark(what="delete"))
    return store


def everything(store):
    """Oracle: (image, facts) of all pictures with what a query may ask, worked out one by one."""
    with store._database.read() as connection:
        rows = connection.execute("SELECT id, position, changed, near FROM image ORDER BY position").fetchall()
    tokenizer = store.tokenizer()
    return [(store.image(row["id"]), row, tokenizer.measure(store.image(row["id"]).caption)) for row in rows]


def matches(query, image, row, tokens, facts) -> bool:
    others = [other for other, _, _ in facts if other.id != image.id and other.deleted == query.deleted]
    near = [
        other_row["near"] for other, other_row, _ in facts if other.id != image.id and other.deleted == query.deleted
    ]
    return (
        image.deleted == query.deleted
        and query.contains.casefold() in image.caption.casefold()
        and bool(re.search(query.regex, image.caption))
        and (not query.word or query.word.lower() in re.findall(r"\w+", image.caption.lower()))
        and (not query.without or query.without.lower() not in re.findall(r"\w+", image.caption.lower()))
        and query.state in (None, image.state)
        and image.source.startswith(query.source)
        and (not query.empty or not image.caption)
        and (not query.too_long or tokens.count > tokens.limit)
        and (not query.differs or (bool(image.machine_caption) and image.machine_caption != image.caption))
        and (query.excluded is None or image.excluded == query.excluded)
        and min(image.width, image.height) < (query.smaller_than or 10**6)
        and (query.ids is None or image.id in query.ids)
        and (
            not query.duplicate_caption
            or (bool(image.caption) and image.caption.lower() in {other.caption.lower() for other in others})
        )
        and (not query.near_duplicate or (row["near"] is not None and row["near"] in near))
    )


KEYS = {
    "added": lambda image, row, tokens: (),
    "name": lambda image, row, tokens: (image.file_name.lower(),),
    "caption": lambda image, row, tokens: (image.caption.lower().encode(),),
    "tokens": lambda image, row, tokens: (tokens.count,),
    "changed": lambda image, row, tokens: (row["changed"],),
    "similar": lambda image, row, tokens: (row["near"] is None, row["near"] or 0),
}
QUERIES = [
    Query(),
    Query(contains="STRASSE"),
    Query(contains="100%"),
    Query(contains="under_"),
    Query(regex=r"red|\bdog"),
    Query(regex=r"^(?i:asim)"),
    Query(word="asim"),
    Query(without="asim", state="modified"),
    Query(state="not modified"),
    Query(state="approved"),
    Query(source="person:"),
    Query(source=BLIP),
    Query(empty=True),
    Query(too_long=True),
    Query(duplicate_caption=True),
    Query(near_duplicate=True),
    Query(differs=True),
    Query(excluded=True),
    Query(excluded=False, contains="a", regex="e"),
    Query(deleted=True),
    Query(smaller_than=65),
]


@pytest.mark.parametrize("sort", KEYS)
@pytest.mark.parametrize(
    "query",
    QUERIES,
    ids=lambda query: "-".join(key for key, value in to_json(query).items() if value not in ("", None, False, 0)),
)
def test_a_query_finds_what_a_plain_loop_finds(store, query, sort):
    store.refresh()
    facts = everything(store)
    query = replace(query, sort=sort)
    expected = [fact for fact in facts if matches(query, *fact, facts)]
    assert expected, "the question must be about something"
    for descending in (False, True):
        expected.sort(key=lambda fact: (*KEYS[sort](*fact), fact[1]["position"]), reverse=descending)
        ids = [image.id for image, _, _ in expected]
        wanted = replace(query, descending=descending)
        assert store.ids(wanted) == ids
        assert store.count(wanted) == len(ids)
        assert [image.id for image in store.captions(wanted)] == ids
        assert store.page(wanted, 2, 5) == [image for image, _, _ in expected[2:7]]


@pytest.mark.parametrize("query", [Query(), Query(sort="caption", descending=True), Query(contains="a", sort="tokens")])
def test_neighbours_are_those_of_the_list(store, query):
    ids = store.ids(query)
    waiting = set(store.ids(replace(query, state="not modified")))
    for index, id in enumerate(ids):
        around = store.around(query, id)
        assert (around.index, around.total) == (index, len(ids))
        assert around.previous == (ids[index - 1] if index else "")
        assert around.next == (ids[index + 1] if index + 1 < len(ids) else "")
        later = [other for other in ids[index + 1 :] + ids[:index] if other in waiting]
        assert around.unreviewed == (later[0] if later else "")


def test_a_picture_that_matches_no_more_still_has_neighbours(store):
    query = Query(state="approved")
    ids, others = store.ids(query), store.ids(Query())
    for id in set(others) - set(ids):
        around = store.around(query, id)
        before = [other for other in others[: others.index(id)] if other in ids]
        after = [other for other in others[others.index(id) :] if other in ids]
        assert around.index is None
        assert (around.previous, around.next) == (before[-1] if before else "", after[0] if after else "")
        assert around.unreviewed == ""


def test_exactly_the_ids_that_were_asked_for(store):
    some = tuple(random.Random(0).sample(store.ids(Query()), 7))
    assert set(store.ids(Query(ids=some))) == set(some)
    assert store.ids(Query(ids=())) == []
    assert store.count(Query(ids=(*some, "0" * 64))) == 7


def test_a_query_travels_as_json():
    query = Query(contains="x", state="approved", excluded=False, ids=("a", "b"), sort="tokens")
    assert from_json(Query, to_json(query)) == query
    with pytest.raises(UserError, match="unknown key 'colour'"):
        from_json(Query, {"colour": "red"})


def test_an_answer_is_remembered_until_something_changes(tmp_path):
    store = create_dataset(Workspace(tmp_path), "set")
    first, second = (
        outcome.id for outcome in store.add_many(NewPicture(data=picture(i), file_name="x") for i in (1, 2))
    )
    other = create_dataset(Workspace(tmp_path), "other")
    assert store.ids(Query(empty=True)) == [first, second]
    assert other.ids(Query(empty=True)) == []
    store.set_caption(first, "words", ANN, 1)
    assert store.ids(Query(empty=True)) == [second]
    store.undo(first)
    assert store.ids(Query(empty=True)) == [first, second]


def test_token_counts_follow_captions_and_tokenizer(tmp_path):
    store = create_dataset(Workspace(tmp_path), "set")
    (id,) = (outcome.id for outcome in store.add_many([NewPicture(data=picture(1), file_name="x", caption="a")]))
    assert store.ids(Query(too_long=True)) == []
    limit = store.tokenizer().limit
    store.set_caption(id, "dog " * limit, ANN, 1)
    assert store.ids(Query(too_long=True)) == [id]
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((tokens_folder() / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 500}')
    store.save_settings(replace(store.settings(), tokenizer=str(folder)))
    assert store.ids(Query(too_long=True)) == []


def tokens_folder():
    from sdstudio.datasets.tokens import STARTER

    return STARTER


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "(?P<x>a)(?P<x>b)("])
def test_a_wrong_pattern_is_said(store, pattern):
    with pytest.raises(UserError, match="not a valid pattern"):
        store.ids(Query(regex=pattern))


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$"])
def test_a_pattern_that_explodes_is_stopped(tmp_path, monkeypatch, pattern):
    monkeypatch.setattr(patterns, "SECONDS", 0.3)
    store = create_dataset(Workspace(tmp_path), "set")
    list(store.add_many([NewPicture(data=picture(1), file_name="x", caption="a" * 5000 + "!")]))
    start = time.process_time()
    with pytest.raises(UserError, match="takes too long"):
        store.ids(Query(regex=pattern))
    assert time.process_time() - start < 5


def test_time_that_is_not_matching_does_not_count(monkeypatch):
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    pattern = patterns.Pattern("a+b", is_regex=True)
    plain = patterns.Pattern("a", is_regex=False)
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        pass
    assert pattern.found_in("xaab")
    assert pattern.matching([(1, "xaab"), (2, "b")]) == [(1, "xaab")]
    assert [plain.replaced_in("aA" * 50_000, "b") for _ in range(20)] == ["bb" * 50_000] * 20


def test_sources_are_counted(store):
    counted = dict(store.sources())
    images = store.images()
    assert counted == {source: sum(image.source == source for image in images) for source in counted}
    assert {ANN, BLIP, "file"} <= set(counted)
