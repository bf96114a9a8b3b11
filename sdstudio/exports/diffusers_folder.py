"""A diffusers folder: the whole model with what was learned inside, for every program on diffusers."""

import json
from pathlib import Path

from sdstudio.exports.merging import merged
from sdstudio.schema import Export
from sdstudio.workspace import Workspace


def refuse(checkpoint: Path) -> str:
    """Every checkpoint can be merged."""
    return ""


def write(ws: Workspace, checkpoint: Path, target: Path, metadata: bool) -> None:
    """The merged pipeline in float16, without the names of this machine's folders in its configs."""
    merged(ws, checkpoint).save_pretrained(target, safe_serialization=True)
    for file in target.rglob("*.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(config, dict) and config.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


RECORD = Export(
    name="diffusers",
    label="Diffusers folder",
    summary="The whole model with what was learned inside.",
    suffix="",
    refuse=refuse,
    write=write,
)
