"""Pictures of many prompts from many models, drawn on a Ray cluster."""

import json
import shutil
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from typing import Any

import pyarrow as pa

from sdstudio.bulk.spreading import Row, spread
from sdstudio.image_folder import list_image, read_images
from sdstudio.jobs.context import JobContext
from sdstudio.schema import GenerateConfig, GeneratedImage, ModelRef, SampleSettings, from_json, to_json
from sdstudio.workspace import Workspace

PARTS_FOLDER = ".parts"


class Painter:
    """One process of the cluster; draws into folders of its own."""

    def __init__(self, workspace: str, folder: str, settings: dict[str, Any]) -> None:
        self._workspace, self._folder = Workspace(Path(workspace)), Path(folder)
        self._settings = from_json(SampleSettings, settings)
        self._pool: Any = None

    def __call__(self, rows: list[Row]) -> list[Row]:
        """`part` and `record` of each row's picture: where it lies, and its line of `images.jsonl`."""
        made = []
        for model, group in groupby(sorted(rows, key=lambda row: row["model"]), key=lambda row: row["model"]):
            same = list(group)
            part = self._folder / token_hex(8)
            for row, image in zip(same, self._draw(model, same, part), strict=True):
                made.append({"id": row["id"], "part": part.name, "record": json.dumps(to_json(image))})
        return made

    def _draw(self, model: str, rows: list[Row], part: Path) -> list[GeneratedImage]:
        from sdstudio.engine.drawing import draw_with
        from sdstudio.engine.pool import ModelPool

        self._pool = self._pool or ModelPool(self._workspace)
        ref = from_json(ModelRef, json.loads(model))
        prompts, seeds = [row["prompt"] for row in rows], [row["seed"] for row in rows]
        with self._pool.use(ref) as loaded:
            return draw_with(loaded, ref, prompts, seeds, self._settings, part)


def run_generate(config: GenerateConfig, ctx: JobContext) -> bool:
    """As `engine.generate.run_generate`, for more pictures than one machine draws in the time there is."""
    from sdstudio.engine.generate import flag_logger, planned

    prompts, seeds = planned(config, ctx)
    parts, log_flags = ctx.folder / PARTS_FOLDER, flag_logger(ctx.log)
    listed = {image.file for image in read_images(ctx.folder)}

    def take(rows: list[Row]) -> None:
        for row in rows:
            image = from_json(GeneratedImage, json.loads(row.pop("record")))
            (parts / row["part"] / image.file).replace(ctx.folder / image.file)
            log_flags(image)
            if image.file not in listed:
                listed.add(image.file)
                list_image(ctx.folder, image)

    arguments = {
        "workspace": str(ctx.workspace.root),
        "folder": str(parts),
        "settings": to_json(replace(config.settings, seed=0)),
    }
    work = _work(config.models, prompts, seeds)
    finished = spread(ctx, work, Painter, arguments, config.settings.batch_size, take, "pictures")
    if finished:
        shutil.rmtree(parts, ignore_errors=True)
    return finished


def _work(models: list[ModelRef], prompts: list[str], seeds: list[int]) -> pa.Table:
    """One row a picture; those of one model lie together."""
    names = [json.dumps(to_json(model), sort_keys=True) for model in models]
    count = len(prompts)
    columns = {
        "id": [f"{model}-{number}" for model in range(len(names)) for number in range(count)],
        "model": [name for name in names for _ in range(count)],
        "prompt": prompts * len(names),
        "seed": seeds * len(names),
    }
    return pa.table(columns)
