"""A snapshot freezes (picture, caption) pairs, so that a run can say for ever what it learned from."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from sdstudio.datasets.fit import CENTRE
from sdstudio.schema import CaptionedImage, Snapshot, UserError, from_json, to_json
from sdstudio.workspace import atomic_write, read_json

_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class SnapshotInfo:
    """A snapshot on disk. `time` is when its file was written, in seconds since the epoch."""

    hash: str
    time: float


@dataclass(frozen=True, kw_only=True)
class SnapshotDiff:
    """What one snapshot has and another has not; `changed` are (before, after) of pictures in both."""

    added: tuple[CaptionedImage, ...]
    removed: tuple[CaptionedImage, ...]
    changed: tuple[tuple[CaptionedImage, CaptionedImage], ...]
    fit: tuple[str, str]


def content_hash(images: Iterable[CaptionedImage], fit: str = CENTRE) -> str:
    """sha256 of the canonical JSON of the [id, caption] pairs, sorted by id: names and times do not count.

    Another fit than the centre crop makes it {"fit": …, "images": pairs}.
    """
    pairs = sorted([image.id, image.caption] for image in images)
    content = pairs if fit == CENTRE else {"fit": fit, "images": pairs}
    return sha256(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def freeze(dataset: str, images: Iterable[CaptionedImage], fit: str = CENTRE) -> Snapshot:
    """The snapshot of `images`, not on disk."""
    ordered = tuple(sorted(images, key=lambda image: image.id))
    return Snapshot(dataset=dataset, hash=content_hash(ordered, fit), images=ordered, fit=fit)


def write_snapshot(folder: Path, snapshot: Snapshot) -> Snapshot:
    """Write `folder/<hash>.json` unless it is there already; what was written once is never touched again."""
    path = folder / f"{snapshot.hash}.json"
    if path.exists():
        return read_snapshot(folder, snapshot.dataset, snapshot.hash)
    atomic_write(path, json.dumps(to_json(snapshot), ensure_ascii=False) + "\n")
    return snapshot


def read_snapshot(folder: Path, dataset: str, hash: str) -> Snapshot:
    """The snapshot, images sorted by id, under the name that the dataset has now.

    A UserError when it is missing or no longer what its hash says.
    """
    path = folder / f"{hash}.json"
    if not _HASH.fullmatch(hash) or not path.exists():
        raise UserError(f"There is no snapshot {hash!r} in {folder}; leave it empty to take one of the dataset now.")
    snapshot = from_json(Snapshot, read_json(path))
    if content_hash(snapshot.images, snapshot.fit) != hash:
        raise UserError(f"The snapshot {path} was changed after it was taken; restore the file or remove it.")
    return replace(snapshot, dataset=dataset)


def list_snapshots(folder: Path) -> list[SnapshotInfo]:
    """Newest first."""
    files = [file for file in folder.glob("*.json") if _HASH.fullmatch(file.stem)]
    found = [SnapshotInfo(hash=file.stem, time=file.stat().st_mtime) for file in files]
    return sorted(found, key=lambda info: (-info.time, info.hash))


def diff(a: Snapshot, b: Snapshot) -> SnapshotDiff:
    """What changed from `a` to `b`, each list sorted by id."""
    before = {image.id: image for image in a.images}
    after = {image.id: image for image in b.images}
    both = sorted(before.keys() & after.keys())
    return SnapshotDiff(
        added=tuple(after[id] for id in sorted(after.keys() - before.keys())),
        removed=tuple(before[id] for id in sorted(before.keys() - after.keys())),
        changed=tuple((before[id], after[id]) for id in both if before[id].caption != after[id].caption),
        fit=(a.fit, b.fit),
    )
