"""A snapshot freezes (picture, caption) pairs, so that a run can say for ever what it learned from."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from sdstudio.schema import CaptionedImage, Snapshot, UserError, from_json, to_json
from sdstudio.workspace import read_json, write_json


def content_hash(images: Iterable[CaptionedImage]) -> str:
    """sha256 of the canonical JSON of the [id, caption] pairs, sorted by id: names and times do not count."""
    pairs = sorted([image.id, image.caption] for image in images)
    return sha256(json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def write_snapshot(folder: Path, dataset: str, images: Iterable[CaptionedImage]) -> Snapshot:
    """Write `folder/<hash>.json` unless it is there already; what was written once is never touched again."""
    ordered = tuple(sorted(images, key=lambda image: image.id))
    hash = content_hash(ordered)
    path = folder / f"{hash}.json"
    if path.exists():
        return read_snapshot(folder, dataset, hash)
    snapshot = Snapshot(dataset=dataset, hash=hash, images=ordered)
    write_json(path, to_json(snapshot))
    return snapshot


def read_snapshot(folder: Path, dataset: str, hash: str) -> Snapshot:
    """The snapshot, images sorted by id, under the name that the dataset has now.

    A UserError when it is missing or no longer what its hash says.
    """
    path = folder / f"{hash}.json"
    if not re.fullmatch("[0-9a-f]{64}", hash) or not path.exists():
        raise UserError(f"There is no snapshot {hash!r} in {folder}; leave it empty to take one of the dataset now.")
    snapshot = from_json(Snapshot, read_json(path))
    if content_hash(snapshot.images) != hash:
        raise UserError(f"The snapshot {path} was changed after it was taken; restore the file or remove it.")
    return replace(snapshot, dataset=dataset)
