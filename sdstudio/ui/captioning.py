"""What a message from the caption editor does to the dataset: every write goes by the id and version it carries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sdstudio.datasets import PERSON, Conflict, DatasetStore
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.query import Query
from sdstudio.datasets.text import clean_caption
from sdstudio.schema import STRICT, CaptionedImage, UserError

AHEAD, BEHIND, FARTHEST = 60, 30, 400
"""Pictures after and before the shown one that the editor gets, so that it never waits while a person types: at least,
and at most where the person moves fast."""

Ask = Literal[
    "", "next", "previous", "unreviewed", "jump", "undo", "redo", "exclude", "include", "delete", "restore"
]  # fmt: skip
MARKS = ("exclude", "include", "delete", "restore")


@dataclass(frozen=True)
class Edit:
    """A caption to save. `version` is that of the caption the person saw."""

    __pydantic_config__ = STRICT
    id: str
    version: int
    caption: str
    approve: bool


@dataclass(frozen=True)
class Message:
    """What the editor sends: what to save, the picture it shows now, and what it asks for about picture `id`.

    `reach` is how many pictures it may pass until it has the answer, below 0 those before the shown one.
    """

    __pydantic_config__ = STRICT
    dataset: str
    number: int
    shows: str
    edits: list[Edit] = field(default_factory=list)
    ask: Ask = ""
    id: str = ""
    version: int = 0
    place: int = 0
    reach: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of one edit. With `error` nothing was written; `conflict`: because somebody else changed it first,
    to `theirs`, which is `version`."""

    id: str
    version: int
    state: str
    conflict: bool = False
    theirs: str = ""
    error: str = ""


@dataclass(frozen=True)
class Answer:
    """What became of message `number`; goes back to the editor with the picture to show now."""

    number: int
    shows: str
    outcomes: list[Outcome]
    note: str = ""
    error: str = ""
    deleted: str = ""


@dataclass(frozen=True)
class Window:
    """The pictures around the shown one, in the order of the filter; `index` is None when it matches no more."""

    images: Sequence[CaptionedImage]
    index: int | None
    total: int


def act(store: DatasetStore, query: Query, message: Message) -> Answer:
    """Carry out one message of the editor. The same message twice does what it does once, but for undo and redo."""
    here = store.around(query, message.shows)
    outcomes = [save(store, edit) for edit in message.edits]
    number = message.number
    if not message.ask:
        return Answer(number, message.shows, outcomes)
    if message.ask in ("next", "previous", "unreviewed", "jump"):
        shows = {"next": here.next, "previous": here.previous, "unreviewed": here.unreviewed}.get(message.ask, "")
        if message.ask == "jump":
            place = min(max(message.place, 1), here.total) - 1
            shows = next((image.id for image in store.page(query, place, 1)), "") if place >= 0 else ""
        nothing = "Every picture of this filter is reviewed" if message.ask == "unreviewed" else "There is no further"
        return Answer(number, shows or message.shows, outcomes, note="" if shows else nothing)
    try:
        note = _change(store, message)
    except UserError as error:
        return Answer(number, message.shows, outcomes, error=str(error))
    if message.ask == "delete":
        return Answer(number, here.next or here.previous or message.shows, outcomes, note=note, deleted=message.id)
    return Answer(number, message.id, outcomes, note=note)


def save(store: DatasetStore, edit: Edit) -> Outcome:
    """Write one caption, unless somebody else changed it first; one that is so already is not written again."""
    caption = clean_caption(edit.caption)
    try:
        image = store.image(edit.id)
        if caption != image.caption:
            image = store.set_caption(edit.id, caption, PERSON, edit.version)
        if edit.approve:
            image = store.approve(edit.id, image.version)
    except Conflict as conflict:
        current = conflict.current
        return Outcome(edit.id, current.version, current.state, True, current.caption, str(conflict))
    except UserError as error:
        return Outcome(edit.id, edit.version, "", error=str(error))
    return Outcome(edit.id, image.version, image.state)


def window(store: DatasetStore, query: Query, image_id: str, reach: int = 0) -> Window:
    """What the editor shows and may show next, the shown picture among it; `reach` as in a Message."""
    ahead, behind = min(max(AHEAD, reach), FARTHEST), min(max(BEHIND, -reach), FARTHEST)
    around = store.around(query, image_id)
    if around.index is not None:
        first = max(0, around.index - behind)
        images = store.page(query, first, around.index - first + 1 + ahead)
    else:
        following = store.around(query, around.next).index if around.next else around.total
        following = around.total if following is None else following
        first = max(0, following - behind)
        near = store.page(query, first, following - first + ahead)
        images = [*near[: following - first], store.image(image_id), *near[following - first :]]
    return Window(images, around.index, around.total)


def _change(store: DatasetStore, message: Message) -> str:
    if message.ask in ("undo", "redo"):
        if store.image(message.id).version != message.version:
            raise UserError("The caption was changed elsewhere meanwhile; look at it first.")
        (store.undo if message.ask == "undo" else store.redo)(message.id)
        return "Taken back" if message.ask == "undo" else "Done again"
    store.bulk([message.id], Mark(what=message.ask))  # type: ignore[arg-type]
    name = store.image(message.id).file_name
    notes = {
        "exclude": "Kept out of training",
        "include": "Used for training again",
        "delete": f"{name} is deleted",
        "restore": "It is back",
    }
    return notes[message.ask]
