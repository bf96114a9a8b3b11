"""Pictures of many prompts from many models, drawn on a Ray cluster."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sdstudio.bulk.spreading import Row, spread
from sdstudio.jobs.context import JobContext
from sdstudio.pictures.image_folder import list_image, read_images
from sdstudio.pictures.start_pictures import open_start
from sdstudio.schema import GenerateConfig, GeneratedImage, ModelRef, SampleSettings, StartPicture, from_json, to_json
from sdstudio.workspace import Workspace

PARTS_FOLDER = ".parts"
ASKED = pa.schema(
    [
        ("id", pa.string()),
        ("model", pa.string()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
        ("folder", pa.string()),
    ]
)


class Painter:
    """One process of the cluster; draws into folders of its own."""

    def __init__(
        self, workspace: str, parts: str, settings: dict[str, Any], start: dict[str, Any] | None = None
    ) -> None:
        self._workspace, self._parts = Workspace(Path(workspace)), Path(parts)
        self._settings = from_json(SampleSettings, settings)
        self._start = open_start(self._workspace, from_json(StartPicture, start)) if start else None
        self._pool: Any = None

    def __call__(self, rows: list[Row]) -> list[Row]:
        """`part` and `record` of each row's picture: where it lies, and its line of `images.jsonl`."""
        made = []
        for model, group in groupby(sorted(rows, key=lambda row: row["model"]), key=lambda row: row["model"]):
            same = list(group)
            part = self._parts / token_hex(8)
            for row, image in zip(same, self._draw(model, same, part), strict=True):
                record = json.dumps(to_json(image))
                made.append({"id": row["id"], "folder": row["folder"], "part": part.name, "record": record})
        return made

    def _draw(self, model: str, rows: list[Row], part: Path) -> list[GeneratedImage]:
        from sdstudio.engine.drawing import draw
        from sdstudio.engine.pool import ModelPool

        self._pool = self._pool or ModelPool(self._workspace)
        ref = from_json(ModelRef, json.loads(model))
        prompts, seeds = [row["prompt"] for row in rows], [row["seed"] for row in rows]
        with self._pool.use(ref) as loaded:
            return draw(loaded, ref, prompts, seeds, self._settings, part, start=self._start)


def run_generate(config: GenerateConfig, ctx: JobContext) -> bool:
    """As `engine.generate.run_generate`, for more pictures than one machine draws in the time there is."""
    from sdstudio.engine.generate import planned

    prompts, seeds = planned(config, ctx)
    work = pa.concat_tables(
        asked(f"{number}-", model, prompts, seeds, ctx.folder) for number, model in enumerate(config.models)
    )
    return paint(ctx, work, config.settings, start=config.start)


def asked(prefix: str, model: ModelRef, prompts: list[str], seeds: list[int], folder: Path) -> pa.Table:
    """One row for each picture of `model`, which goes into `folder`; `prefix` sets its ids apart from other models'.

    A picture has the same id whichever others are asked for with it.
    """
    name, pairs = json.dumps(to_json(model), sort_keys=True), zip(prompts, seeds, strict=True)
    columns = {
        "id": [f"{prefix}{sha256(prompt.encode()).hexdigest()[:16]}-{seed}" for prompt, seed in pairs],
        "model": [name] * len(prompts),
        "prompt": prompts,
        "seed": seeds,
        "folder": [str(folder)] * len(prompts),
    }
    return pa.table(columns, schema=ASKED)


def paint(
    ctx: JobContext, work: pa.Table, settings: SampleSettings, part: str = "", start: StartPicture | None = None
) -> bool:
    """Draw the pictures of `asked`, those of one model together, and list each in its folder; False when stopped."""
    from sdstudio.engine.generate import flag_logger

    parts, log_flags = ctx.folder / PARTS_FOLDER, flag_logger(ctx.log)
    folders = {folder: Path(folder) for folder in pc.unique(work["folder"]).to_pylist()}
    listed = {(folder, image.file) for folder, path in folders.items() for image in read_images(path)}

    def take(rows: list[Row]) -> None:
        for row in rows:
            image, folder = from_json(GeneratedImage, json.loads(row.pop("record"))), folders[row["folder"]]
            folder.mkdir(parents=True, exist_ok=True)
            (parts / row["part"] / image.file).replace(folder / image.file)
            log_flags(image)
            if (row["folder"], image.file) not in listed:
                listed.add((row["folder"], image.file))
                list_image(folder, image)

    arguments = {
        "workspace": str(ctx.workspace.root),
        "parts": str(parts),
        "settings": to_json(replace(settings, seed=0)),
        "start": to_json(start) if start else None,
    }
    finished = spread(ctx, work, Painter, arguments, settings.batch_size, take, "pictures", part)
    if finished:
        shutil.rmtree(parts, ignore_errors=True)
    return finished
