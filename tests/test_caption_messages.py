"""What the caption editor sends, and what becomes of it: pytest tests/test_caption_messages.py"""

import pytest
from cats import HOSTILE, captions, four_cats, ids

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.query import Query
from sdstudio.schema import UserError, from_json
from sdstudio.ui import captioning
from sdstudio.ui.captioning import Answer, Edit, Message
from sdstudio.workspace import Workspace


@pytest.fixture
def store(quiet_workspace: Workspace) -> DatasetStore:
    return four_cats(quiet_workspace)


def edit(store: DatasetStore, place: int, caption: str | None = None, approve: bool = False, version: int = -1) -> Edit:
    image = store.images()[place]
    words = image.caption if caption is None else caption
    return Edit(image.id, image.version if version < 0 else version, words, approve)


def tell(store: DatasetStore, shows: int, *edits: Edit, ask: captioning.Ask = "", place: int = 0) -> Answer:
    """Send one message about the picture that is shown; answered with what became of it."""
    image = store.images()[shows]
    message = Message(store.name, 1, image.id, list(edits), ask, image.id, image.version, place)
    return captioning.act(store, Query(), message)


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
