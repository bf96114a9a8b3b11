"""The studio's own small form: what a method changed and its checkpoint.json, without what only a resume needs."""

import shutil
from pathlib import Path

from sdstudio.methods.deltas import DELTA
from sdstudio.methods.lora import WEIGHTS
from sdstudio.models import CHECKPOINT_FILE, MANIFEST_FILE, sha256_file
from sdstudio.schema import Export
from sdstudio.workspace import Workspace, write_json


def _files(checkpoint: Path) -> list[Path]:
    return [path for name in (WEIGHTS, DELTA) if (path := checkpoint / name).is_file()]


def refuse(checkpoint: Path) -> str:
    """A new word has its embedding instead."""
    return "" if _files(checkpoint) else "This checkpoint holds neither LoRA nor layers: export the embedding."


def write(ws: Workspace, checkpoint: Path, target: Path, metadata: bool) -> None:
    """A checkpoint folder that generates and evaluates like the one it came from, on the same base model."""
    target.mkdir()
    files = [*_files(checkpoint), checkpoint / CHECKPOINT_FILE]
    for path in files:
        shutil.copyfile(path, target / path.name)
    write_json(target / MANIFEST_FILE, {"files": {path.name: sha256_file(target / path.name) for path in files}})


RECORD = Export(
    name="lora+delta",
    label="LoRA and layers",
    summary="Only what was learned, for this studio: LoRA and the change of unfrozen layers, tens of megabytes.",
    suffix="",
    refuse=refuse,
    write=write,
)
