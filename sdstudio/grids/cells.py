"""The cells of a grid: which model draws each, and with what settings."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from sdstudio.grids.parsing import MODEL, PROMPT, WEIGHT, find_setting
from sdstudio.models import CHECKPOINT_FILE, read_checkpoint, resolve_base_model, resolve_checkpoint
from sdstudio.schema import (
    Axis,
    GridConfig,
    ModelRef,
    SampleSettings,
    StartPicture,
    UserError,
    from_json,
    to_json,
)
from sdstudio.workspace import Workspace

MOST_AXES, MOST_CELLS = 3, 4_000


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One picture of a grid: where it stands (column, row, sheet) and all that it is asked with; its seed is in
    `settings`.
    """

    place: tuple[int, int, int]
    model: ModelRef
    prompt: str
    settings: SampleSettings
    start: StartPicture | None


def check_grid(config: GridConfig) -> GridConfig:
    """The grid with a random seed drawn where one is asked for, so that all cells, and a resumed job, share it.

    Raises UserError for what no grid can be made of.
    """
    base = config.base
    if len(base.prompts) != 1 or len(base.models) != 1:
        raise UserError("A grid goes out from one prompt and one model: give one of each, and the others as an axis.")
    if base.count != 1:
        raise UserError("A grid has one picture in each cell: leave the count at 1, and make the seed an axis.")
    if not 1 <= len(config.axes) <= MOST_AXES:
        raise UserError(f"A grid has one to {MOST_AXES} axes, not {len(config.axes)}: columns, rows and sheets.")
    names = [find_setting(axis.setting).name for axis in config.axes]
    if len(set(names)) < len(names):
        raise UserError("Two axes go over the same setting: take one of them away.")
    for axis in config.axes:
        if not axis.values or len(set(axis.values)) < len(axis.values):
            raise UserError(f"The axis {axis.setting!r} has no values, or one twice: give each value once.")
    count = prod(len(axis.values) for axis in config.axes)
    if count > MOST_CELLS:
        raise UserError(f"This grid would have {count:,} pictures, the most is {MOST_CELLS:,}: take values away.")
    if base.settings.seed < 0:
        base = replace(base, settings=replace(base.settings, seed=secrets.randbelow(2**31)))
    return GridConfig(
        base=base, axes=[replace(axis, setting=name) for axis, name in zip(config.axes, names, strict=True)]
    )


def cells(ws: Workspace, config: GridConfig) -> list[Cell]:
    """Every cell of a checked grid, column by column within a row, row by row within a sheet.

    Raises UserError for a value that its setting does not take, a model that is not there, and a prompt that does not
    hold what is to be replaced.
    """
    base = config.base
    first = Cell(
        place=(0, 0, 0), model=base.models[0], prompt=base.prompts[0], settings=base.settings, start=base.start
    )
    if any(axis.setting == WEIGHT for axis in config.axes) and not _has_checkpoint(config):
        raise UserError("The weight is that of a checkpoint: choose a trained model to begin from.")
    along = [[_change(ws, axis, value, first) for value in axis.values] for axis in config.axes]
    found = []
    for numbers in product(*(range(len(changes)) for changes in reversed(along))):
        x, y, z = (*reversed(numbers), 0, 0)[:3]
        cell = replace(first, place=(x, y, z))
        for changes, number in zip(along, (x, y, z), strict=False):
            cell = changes[number](cell)
        found.append(cell)
    return found


def _has_checkpoint(config: GridConfig) -> bool:
    return bool(config.base.models[0].checkpoint) or any(axis.setting == MODEL for axis in config.axes)


def _change(ws: Workspace, axis: Axis, value: str, cell: Cell) -> Callable[[Cell], Cell]:
    """What a value of an axis makes of a cell; a UserError when that cannot be."""
    if axis.setting == MODEL:
        return partial(_with_model, model=_model(ws, value, cell.model))
    if axis.setting == WEIGHT:
        return partial(_with_weight, weight=from_json(ModelRef, {"weight": value}).weight)
    if axis.setting == PROMPT:
        if axis.values[0] not in cell.prompt and axis.values[0] not in cell.settings.negative_prompt:
            raise UserError(f"{axis.values[0]!r} is not in the prompt, so it cannot be replaced: write it there.")
        return partial(_with_words, old=axis.values[0], new=value)
    settings = from_json(SampleSettings, {**to_json(cell.settings), axis.setting: value})
    if settings.seed < 0:
        raise UserError("A seed of −1 is another one each time: give the seeds of an axis as numbers.")
    return partial(_with_setting, name=axis.setting, value=getattr(settings, axis.setting))


def _with_model(cell: Cell, model: ModelRef) -> Cell:
    return replace(cell, model=replace(model, weight=cell.model.weight if model.checkpoint else 1.0))


def _with_weight(cell: Cell, weight: float) -> Cell:
    return replace(cell, model=replace(cell.model, weight=weight)) if cell.model.checkpoint else cell


def _with_words(cell: Cell, old: str, new: str) -> Cell:
    settings = replace(cell.settings, negative_prompt=cell.settings.negative_prompt.replace(old, new))
    return replace(cell, prompt=cell.prompt.replace(old, new), settings=settings)


def _with_setting(cell: Cell, name: str, value: Any) -> Cell:
    return replace(cell, settings=replace(cell.settings, **{name: value}))


def _model(ws: Workspace, value: str, under: ModelRef) -> ModelRef:
    """'base', a step of the run that `under` is of, a checkpoint or run, or a base model."""
    if value.lower() == "base":
        return ModelRef(base_model=under.base_model, label="base")
    try:
        folder = _step(ws, value, under) if value.isdigit() else resolve_checkpoint(ws, value)
    except UserError:
        if value.isdigit():
            raise
        return ModelRef(base_model=resolve_base_model(ws, value).ref, label=value)
    checkpoint = read_checkpoint(folder)
    return ModelRef(
        base_model=checkpoint.base_model,
        checkpoint=ws.within(folder),
        label=f"{checkpoint.run} step {checkpoint.step}",
        extras=under.extras,
    )


def _step(ws: Workspace, value: str, under: ModelRef) -> Path:
    if not under.checkpoint:
        raise UserError(f"Step {value} is of a run: choose one of its checkpoints as the model to begin from.")
    folder = resolve_checkpoint(ws, under.checkpoint)
    found = folder.parent / f"step-{int(value):06d}"
    if not (found / CHECKPOINT_FILE).is_file():
        steps = ", ".join(str(int(path.name.removeprefix("step-"))) for path in sorted(folder.parent.glob("step-*")))
        raise UserError(
            f"The run {folder.parent.parent.name} has no checkpoint of step {value}: choose one of {steps}."
        )
    return found
