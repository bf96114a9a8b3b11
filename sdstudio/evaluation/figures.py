"""What a checkpoint cost: the run's own figures, to stand beside its measurements."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sdstudio.jobs.context import METRICS_FILE
from sdstudio.jobs.folder import CONFIG_FILE
from sdstudio.models import read_checkpoint, resolve_checkpoint
from sdstudio.schema import ModelRef, UserError
from sdstudio.workspace import Workspace, folder_size, read_json, read_json_lines

STATE_FOLDER = "state"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one checkpoint; None is not known. Times in seconds, sizes in bytes.

    `learning_rate` is the highest that its first group of weights had, `seconds` the time of its steps alone (without
    loading, class pictures, samples and measurements), `storage` what the checkpoint takes without the state to go on
    from, `memory` the most that the run held. Losses are those at its step: the training loss as the mean of the last
    20 steps.
    """

    run: str
    method: str
    step: int
    seed: int | None
    learning_rate: float | None
    seconds: float | None
    storage: int
    memory: int | None
    loss: float | None
    val_loss: float | None
    dataset: str
    snapshot: str


def figures(ws: Workspace, model: ModelRef) -> Figures | None:
    """The figures of the model's checkpoint; None for a base model, or where the checkpoint is gone."""
    if not model.checkpoint:
        return None
    try:
        folder = resolve_checkpoint(ws, model.checkpoint)
        return _figures(folder, _stamp(folder.parents[1] / METRICS_FILE))
    except UserError:
        return None


def _stamp(file: Path) -> int:
    return file.stat().st_mtime_ns if file.is_file() else 0


@lru_cache(maxsize=2000)
def _figures(folder: Path, stamp: int) -> Figures:
    checkpoint, run = read_checkpoint(folder), folder.parents[1]
    config = read_json(run / CONFIG_FILE) if (run / CONFIG_FILE).is_file() else {}
    rows = [row for row in read_json_lines(run / METRICS_FILE) if row.get("step", 0) <= checkpoint.step]
    steps = [row for row in rows if row.get("loss") is not None]
    loop = config.get("loop", {})
    per_step = loop.get("batch_size", 0) * loop.get("gradient_accumulation", 1)
    speeds = [row["images_per_second"] for row in steps if row.get("images_per_second")]
    losses = [row["loss"] for row in steps[-20:]]
    measured = [row["val_loss"] for row in rows if row.get("val_loss") is not None]
    return Figures(
        run=checkpoint.run,
        method=checkpoint.method,
        step=checkpoint.step,
        seed=loop.get("seed"),
        learning_rate=max((row["lr"] for row in steps if row.get("lr")), default=None),
        seconds=sum(per_step / speed for speed in speeds) if speeds and per_step else None,
        storage=folder_size(folder) - folder_size(folder / STATE_FOLDER),
        memory=max((row["memory_bytes"] for row in steps if row.get("memory_bytes")), default=None),
        loss=sum(losses) / len(losses) if losses else None,
        val_loss=measured[-1] if measured else None,
        dataset=str(config.get("dataset", "")),
        snapshot=checkpoint.snapshot,
    )
