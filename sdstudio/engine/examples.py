"""What a run learns from: the frozen snapshot and its captioned pictures."""

from sdstudio.datasets import open_dataset
from sdstudio.jobs.context import JobContext
from sdstudio.methods.parts import Example
from sdstudio.schema import Snapshot, TrainConfig, UserError, from_json, to_json
from sdstudio.workspace import read_json, write_json

SNAPSHOT_FILE = "snapshot.json"


def frozen_snapshot(config: TrainConfig, ctx: JobContext) -> Snapshot:
    """The snapshot that the run began with, kept in its folder; at the first start the named one or one taken now."""
    kept = ctx.folder / SNAPSHOT_FILE
    if kept.is_file():
        return from_json(Snapshot, read_json(kept))
    if not config.dataset:
        raise UserError("No dataset is named: choose the one to learn from.")
    store = open_dataset(ctx.workspace, config.dataset)
    snapshot = store.load_snapshot(config.snapshot) if config.snapshot else store.snapshot()
    write_json(kept, to_json(snapshot))
    return snapshot


def captioned_examples(config: TrainConfig, ctx: JobContext, snapshot: Snapshot) -> list[Example]:
    """The snapshot's captioned pictures; says how many are left out. Raises UserError when there is none."""
    store = open_dataset(ctx.workspace, snapshot.dataset)
    if not snapshot.images:
        raise UserError(f"The dataset {snapshot.dataset!r} is empty: import pictures first.")
    captioned = [image for image in snapshot.images if image.caption.strip()]
    if not captioned:
        raise UserError(f"No picture of {snapshot.dataset!r} has a caption: write or draft captions first (Annotate).")
    left_out = len(snapshot.images) - len(captioned)
    if left_out:
        ctx.log(f"{left_out} of {len(snapshot.images)} pictures have no caption and are left out.")
    return [Example(path=store.image_path(image.id), caption=image.caption) for image in captioned]
