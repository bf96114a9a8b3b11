"""Checkpoints of every method on a tiny model, made without training: what would learn is moved at random."""

from pathlib import Path
from typing import Any

import torch

from sdstudio.engine.checkpoints import write_checkpoint
from sdstudio.engine.pipeline import family_of, find_method
from sdstudio.models import hash_base_model
from sdstudio.schema import Checkpoint, ModelRef, from_json
from sdstudio.workspace import Workspace


def taught(ws: Workspace, base: Path, method: str, run: str, seed: int = 0, **options: Any) -> ModelRef:
    """A model with a checkpoint of `run`, whose changes are random numbers of `seed`."""
    record, family = find_method(method), family_of(base)
    options = {"trigger": "qzx", **options}
    chosen = from_json(record.Options, options)
    pipeline = family.load(base)
    trainable = record.prepare(pipeline, chosen)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in trainable.parameters.values():
            value += 0.2 * torch.randn(value.shape, generator=generator)
    checkpoint = Checkpoint(
        method=method,
        method_options=options,
        base_model=str(base),
        base_hash=hash_base_model(ws, base),
        family=family.name,
        trigger="qzx",
        run=run,
        step=5,
    )
    folder = write_checkpoint(ws.runs / run, checkpoint, lambda path: record.save(pipeline, trainable, path))
    return ModelRef(base_model=str(base), checkpoint=folder.relative_to(ws.root).as_posix(), label=run)
