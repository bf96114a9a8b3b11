"""What a message from the caption editor does to the dataset: one write at most, by the id and version it carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sdstudio.datasets import PERSON, Conflict, DatasetStore
from sdstudio.datasets.store import clean_caption
from sdstudio.schema import STRICT, CaptionedImage, UserError

Action = Literal["save", "save_next", "approve_next", "undo", "previous", "next", "next_unreviewed"]


@dataclass(frozen=True)
class Message:
    """What the editor sends. `version` is that of the caption the person saw, `changed` whether they touched it."""

    __pydantic_config__ = STRICT
    action: Action
    dataset: str
    id: str
    number: int
    version: int
    caption: str
    changed: bool


@dataclass(frozen=True)
class Answer:
    """What became of one message; goes back to the editor.

    `shows` is the picture to show now; `conflict` is true when somebody else changed the caption first: nothing was
    written then, and `unsaved` still holds the person's text.
    """

    number: int
    id: str
    shows: str
    version: int
    note: str = ""
    conflict: bool = False
    error: str = ""
    unsaved: str = ""


def act(store: DatasetStore, order: Sequence[str], message: Message) -> Answer:
    """Carry out one message of the editor.

    `order` is the ids in the order the person sees them, taken before the write. A message that changes nothing
    writes nothing; one that would overwrite another person's change is answered with `conflict`.
    """
    caption = clean_caption(message.caption)
    try:
        image = store.image(message.id)
        saved = message.changed and message.action != "undo" and caption != image.caption
        if saved:
            image = store.set_caption(image.id, caption, PERSON, message.version)
        if message.action == "approve_next":
            image = store.approve(image.id, image.version)
        if message.action == "undo":
            image = store.undo(image.id)
    except Conflict as conflict:
        note = "Not saved: somebody else changed it."
        version = conflict.current.version
        return Answer(message.number, message.id, message.id, version, note, conflict=True, unsaved=message.caption)
    except UserError as error:
        note = str(error)
        return Answer(
            message.number, message.id, message.id, message.version, note, error=note, unsaved=message.caption
        )
    shows = _shown_after(store, order, image.id, message.action)
    note = "Saved" if saved else "Taken back" if message.action == "undo" else describe(image)
    if shows == image.id and message.action in ("save_next", "approve_next", "next", "next_unreviewed"):
        note = "Saved; this was the last one" if saved else "This was the last one"
    return Answer(message.number, image.id, shows, image.version, note)


def describe(image: CaptionedImage) -> str:
    """The state of a picture as a sentence of its own."""
    sentences = {
        "not modified": "This picture has not been modified",
        "modified": "Modified by a person",
        "approved": "Approved",
    }
    return sentences[image.state]


def _shown_after(store: DatasetStore, order: Sequence[str], image_id: str, action: Action) -> str:
    place = order.index(image_id) if image_id in order else -1
    after, before = list(order[place + 1 :]), list(order[:place]) if place > 0 else []
    if action in ("save_next", "approve_next", "next"):
        return after[0] if after else image_id
    if action == "previous":
        return before[-1] if before else image_id
    if action == "next_unreviewed":
        unreviewed = {image.id for image in store.images() if image.state == "not modified"}
        return next((other for other in after + before if other in unreviewed), image_id)
    return image_id
