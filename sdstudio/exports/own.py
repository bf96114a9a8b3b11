"""The studio's own small form: what a method changed and its checkpoint.json, without what only a resume needs."""

import shutil
from dataclasses import replace
from pathlib import Path

from sdstudio.methods.deltas import DELTA
from sdstudio.methods.lora import WEIGHTS
from sdstudio.models import CHECKPOINT_FILE, MANIFEST_FILE, read_checkpoint, sha256_file
from sdstudio.schema import Export, to_json
from sdstudio.workspace import Workspace, write_json


def _files(checkpoint: Path) -> list[Path]:
    return [path for name in (WEIGHTS, DELTA) if (path := checkpoint / name).is_file()]


def refuse(checkpoint: Path) -> str:
    """A new word has its embedding instead."""
    return "" if _files(checkpoint) else "This checkpoint holds neither LoRA nor layers: export the embedding."


def write(ws: Workspace, checkpoint: Path, target: Path, metadata: bool) -> None:
    """A checkpoint folder that generates and evaluates like the one it came from, on the same base model.

    A base model that is a path is named by its last part: the folder may travel to people.
    """
    target.mkdir()
    for path in _files(checkpoint):
        shutil.copyfile(path, target / path.name)
    record = read_checkpoint(checkpoint)
    base = Path(record.base_model)
    record = replace(record, base_model=base.name if base.is_absolute() else record.base_model)
    write_json(target / CHECKPOINT_FILE, to_json(record))
    digests = {path.name: sha256_file(path) for path in sorted(target.iterdir())}
    write_json(target / MANIFEST_FILE, {"files": digests})


RECORD = Export(
    name="lora+delta",
    label="LoRA and layers",
    summary="Only what was learned, for this studio: LoRA and the change of unfrozen layers, tens of megabytes.",
    suffix="",
    refuse=refuse,
    write=write,
)
