"""What to look at before training: a list of findings, each with the pictures it is about."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from sdstudio.datasets import fit
from sdstudio.datasets.places import count_at
from sdstudio.datasets.query import Query
from sdstudio.datasets.store import DatasetStore
from sdstudio.datasets.template import OPEN_SLOT
from sdstudio.schema import CaptionedImage, UserError
from sdstudio.words import count as in_words
from sdstudio.workspace import Workspace

Level = Literal["problem", "warning", "note"]
CROP_LOSS = 0.25
NEEDED_BYTES = 5_000_000_000
_SPELLED_OUT = 200


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the list. `query` shows its pictures in the grid; `details` says more of some, by id.

    A 'problem' spoils a training run, a 'warning' may, a 'note' is only said.
    """

    code: str
    level: Level
    sentence: str
    count: int
    ids: tuple[str, ...] = ()
    query: Query | None = None
    details: dict[str, str] = field(default_factory=dict)


def check(
    store: DatasetStore,
    side: int | None = None,
    thorough: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Look at every picture that would be trained on; findings with nothing to say are left out.

    `side` is the pixels a side that they are trained at, the dataset's own `resolution` when it is not given.

    `thorough` reads every stored file and compares its hash (minutes for 100,000), otherwise it only has to be there;
    `progress` hears (files read, files in all).
    """
    chosen = store.settings()
    side = side or chosen.resolution
    images = store.trained_images()
    checks: list[Iterator[Finding]] = [
        _unreadable(store, images, thorough, progress),
        _filtered(store, "empty", "problem", "{count} without a caption: write or draft one", Query(empty=True)),
        _too_long(store),
        _filtered(
            store, "open-slot", "warning", "{count} with a slot of the template left open", Query(regex=OPEN_SLOT)
        ),
        _identifier(store, chosen.identifier),
        _filtered(
            store,
            "duplicate-caption",
            "warning",
            "{count} share a caption word for word",
            Query(duplicate_caption=True),
        ),
        _filtered(
            store,
            "near-duplicate",
            "warning",
            "{count} are nearly the same picture as another: the model sees them more often, and a validation split "
            "between them misleads",
            Query(near_duplicate=True, sort="similar"),
        ),
        _filtered(
            store,
            "tiny",
            "warning",
            f"{{count}} smaller than {side} px on the shorter side would be enlarged and learned as blurred",
            Query(smaller_than=side),
        ),
        _crop_loss(images, chosen.fit, side),
        _filtered(
            store, "turned", "note", "{count} turned upright when they came in, as their EXIF asks", Query(turned=True)
        ),
        _class_pictures(store, chosen.class_pictures, len(images)),
        _left_out(store),
        _disk(store.folder),
    ]
    return [finding for found in checks for finding in found]


def _filtered(store: DatasetStore, code: str, level: Level, sentence: str, query: Query) -> Iterator[Finding]:
    query = replace(query, excluded=False)
    ids = tuple(store.ids(query))
    if ids:
        text = sentence.format(count=in_words(len(ids), "picture")) + "."
        yield Finding(code=code, level=level, sentence=text, count=len(ids), ids=ids, query=query)


def _unreadable(
    store: DatasetStore,
    images: Sequence[CaptionedImage],
    thorough: bool,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Finding]:
    files = store.image_paths()
    details: dict[str, str] = {}
    for done, image in enumerate(images, start=1):
        wrong = _wrong(files[image.id], image.id if thorough else "")
        if wrong:
            details[image.id] = wrong
        if progress is not None:
            progress(done, len(images))
    if details:
        yield Finding(
            code="unreadable",
            level="problem",
            sentence=f"The files of {in_words(len(details), 'picture')} are missing or damaged: import them again.",
            count=len(details),
            ids=tuple(details),
            query=Query(ids=tuple(details)),
            details=details,
        )


def _wrong(file: Path, expected: str) -> str:
    """What is wrong with a stored file; `expected` is its hash when that should be looked at."""
    try:
        if not file.stat().st_size:
            return "empty"
        if expected and sha256(file.read_bytes()).hexdigest() != expected:
            return "changed on disk"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return error.strerror or "cannot be read"
    return ""


def _too_long(store: DatasetStore) -> Iterator[Finding]:
    tokenizer = store.tokenizer()
    sentence = (
        f"{{count}} with a caption of more than {tokenizer.limit} tokens: the text encoder does not see the last words"
    )
    for finding in _filtered(store, "too-long", "warning", sentence, Query(too_long=True)):
        for image in store.page(finding.query or Query(), 0, _SPELLED_OUT):
            finding.details[image.id] = tokenizer.measure(image.caption).cut
        yield finding


def _identifier(store: DatasetStore, identifier: str) -> Iterator[Finding]:
    if identifier:
        sentence = (
            f"{{count}} with a caption that lacks the identifier “{identifier.replace('{', '').replace('}', '')}”"
        )
        yield from _filtered(store, "identifier", "warning", sentence, Query(without=identifier))


def _crop_loss(images: Sequence[CaptionedImage], choice: str, side: int) -> Iterator[Finding]:
    shares = {image.id: fit.lost(image.width, image.height, choice, side) for image in images}
    details = {id: f"{share:.0%}" for id, share in shares.items() if share > CROP_LOSS}
    if details:
        mean = sum(shares.values()) / len(shares)
        yield Finding(
            code="crop-loss",
            level="warning",
            sentence=f"{in_words(len(details), 'picture')} lose more than {CROP_LOSS:.0%} to “{fit.CHOICES[choice]}” "
            f"(on average over all: {mean:.0%}).",
            count=len(details),
            ids=tuple(details),
            query=Query(ids=tuple(details)),
            details=details,
        )


def _class_pictures(store: DatasetStore, place: str, own: int) -> Iterator[Finding]:
    """Ruiz et al. 2022 (arXiv:2208.12242) have some 200 class pictures for each one of the subject."""
    if not place:
        return
    try:
        count = count_at(Workspace(store.folder.parents[1]), place)
    except UserError as error:
        yield Finding(code="class-pictures", level="problem", sentence=f"The class pictures: {error}", count=0)
        return
    level: Level = "note"
    sentence = f"{in_words(count, 'picture')} of the class in “{place}” beside {in_words(own, 'picture')} to learn"
    if count < own:
        level = "warning"
        sentence += ": each of them comes more often than a picture to learn, so that the class is narrowed to them"
    yield Finding(code="class-pictures", level=level, sentence=f"{sentence}.", count=count)


def _left_out(store: DatasetStore) -> Iterator[Finding]:
    query = Query(excluded=True)
    ids = tuple(store.ids(query))
    if ids:
        sentence = f"{in_words(len(ids), 'picture')} excluded from training."
        yield Finding(code="excluded", level="note", sentence=sentence, count=len(ids), ids=ids, query=query)


def _disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        sentence = (
            f"Only {free / 1e9:.1f} GB are free on the workspace's disk, and a full checkpoint of Stable Diffusion 1.x "
            "takes about 5 GB: make room first."
        )
        yield Finding(code="disk", level="problem", sentence=sentence, count=0)
