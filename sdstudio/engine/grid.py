"""The job that draws a grid: models swapped as seldom as can be, nothing drawn twice."""

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sdstudio.collection.marks import deleted_files
from sdstudio.engine.drawing import draw
from sdstudio.engine.generate import flag_logger
from sdstudio.engine.pool import ModelPool
from sdstudio.grids import Cell, cells, draw_sheet, read_cells, table
from sdstudio.grids.sheet import CELLS_FILE
from sdstudio.jobs.context import JobContext
from sdstudio.pictures.start_pictures import open_start
from sdstudio.schema import GeneratedImage, GridConfig, to_json
from sdstudio.words import count
from sdstudio.workspace import append_json, atomic_write


def run_grid(config: GridConfig, ctx: JobContext) -> bool:
    """Draw every cell of a checked grid into the job's folder; False when it was asked to stop.

    A picture that any batch of the workspace holds, drawn from the same weights with the same settings, is taken over.
    Which file is in which cell is told in `cells.jsonl` as soon as it is; in the end there are labelled sheets and a
    table as files. The cell of a picture that somebody deleted stays empty.
    """
    planned = cells(ctx.workspace, config)
    start = open_start(ctx.workspace, config.base.start) if config.base.start else None
    deleted = deleted_files(ctx.workspace, ctx.folder)
    known = read_cells(ctx.folder).items()
    told = {place for place, file in known if file in deleted or (ctx.folder / file).is_file()}
    pool, log_flags, elsewhere = ModelPool(ctx.workspace), flag_logger(ctx.log), drawn_elsewhere(ctx)
    done = len(told)
    ctx.progress(done, len(planned), "pictures")
    for of_model in by_cost([cell for cell in planned if cell.place not in told]):
        model = of_model[0][0].model
        ctx.log(f"Drawing {count(sum(map(len, of_model)), 'cell')} with {model.label or model.base_model}")
        with pool.use(model) as loaded:
            for group in of_model:
                waiting: dict[tuple[str, int], list[Cell]] = {}
                for cell in group:
                    waiting.setdefault((cell.prompt, cell.settings.seed), []).append(cell)

                def tell(image: GeneratedImage, waiting: dict[tuple[str, int], list[Cell]] = waiting) -> None:
                    nonlocal done
                    log_flags(image)
                    for cell in waiting[image.prompt, image.seed]:
                        append_json(ctx.folder / CELLS_FILE, {"cell": cell.place, "file": image.file})
                        done += 1
                    ctx.progress(done, len(planned), "pictures")

                prompts, seeds = map(list, zip(*waiting, strict=True))
                asked = (loaded, model, prompts, seeds, group[0].settings, ctx.folder)
                images = draw(*asked, tell, ctx.should_stop, start=start, elsewhere=elsewhere)
                if len(images) < len(waiting):
                    ctx.log(f"Stopped after {done} of {count(len(planned), 'cell')}; what is drawn is kept.")
                    return False
    ctx.progress(done, len(planned), "pictures", "writing the sheets")
    for number in range(len(config.axes[2].values) if len(config.axes) > 2 else 1):
        draw_sheet(config, ctx.folder, number).save(ctx.folder / f"sheet-{number + 1:03d}.png")
    atomic_write(ctx.folder / "cells.csv", table(config, ctx.folder))
    ctx.progress(done, len(planned), "pictures")
    return True


def by_cost(planned: Iterable[Cell]) -> list[list[list[Cell]]]:
    """The cells in the order that they are drawn in: those of one model, in groups that can be drawn together.

    Models of one base model stand together, and of those the ones with the same checkpoints, so that a base model is
    loaded once and a checkpoint put on once; all else stays in its order.
    """
    models: dict[str, dict[str, list[Cell]]] = {}
    bases: dict[str, int] = {}
    stacks: dict[str, int] = {}
    ranks: dict[str, tuple[int, int]] = {}
    for cell in planned:
        key = json.dumps(to_json(cell.model))
        stack = json.dumps([extra.checkpoint for extra in cell.model.checkpoints])
        ranks[key] = (bases.setdefault(cell.model.base_model, len(bases)), stacks.setdefault(stack, len(stacks)))
        together = json.dumps(to_json(replace(cell.settings, seed=0)))
        models.setdefault(key, {}).setdefault(together, []).append(cell)
    return [list(models[key].values()) for key in sorted(models, key=ranks.__getitem__)]


def drawn_elsewhere(ctx: JobContext) -> dict[str, Path]:
    """The pictures of all other batches by file name, which says what decided their pixels."""
    found: dict[str, Path] = {}
    for folder in ctx.workspace.images.iterdir():
        if folder.is_dir() and folder != ctx.folder:
            with os.scandir(folder) as entries:
                found |= {entry.name: Path(entry.path) for entry in entries if entry.name.endswith(".png")}
    return found
