"""The pictures of a dataset and their captions."""

from dataclasses import dataclass
from typing import Literal

CaptionSource = str
"""'file', 'captioner:<name>' or 'person:<name>'; empty while there is no caption."""
CaptionState = Literal["not modified", "modified", "approved"]
"""What people have done with a caption."""


@dataclass(frozen=True, kw_only=True)
class CaptionedImage:
    """One picture of a dataset. `id` is the sha256 of the stored file; an `excluded` one is not trained on."""

    id: str
    file_name: str
    width: int
    height: int
    caption: str = ""
    source: CaptionSource = ""
    machine_caption: str = ""
    version: int = 0
    state: CaptionState = "not modified"
    excluded: bool = False
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """An immutable list of (picture, caption) pairs, and the `fit` (see datasets.fit) that makes them square.

    `hash` is the sha256 of its canonical JSON.
    """

    dataset: str
    hash: str
    images: tuple[CaptionedImage, ...]
    fit: str = "centre"
