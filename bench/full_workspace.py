"""A workspace after months of use, made in a minute without a model.   python bench/full_workspace.py FOLDER

2,500 pictures with captions as people write them anywhere, 30 finished runs with 90 checkpoints, jobs that failed or
were stopped, 4 comparisons of 30 models, and 600 generated pictures. Every run and number in it is invented.
"""

import io
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save_file

from sdstudio.datasets import create_dataset
from sdstudio.models import hash_base_model, resolve_base_model, sha256_file
from sdstudio.pictures.image_folder import write_image
from sdstudio.results import FLOOR, RESULTS_FILE, Evaluation, Picture, Row
from sdstudio.schema import (
    Checkpoint,
    GenerateConfig,
    GeneratedImage,
    LoopConfig,
    MetricResult,
    ModelRef,
    Protocol,
    SampleSettings,
    TrainConfig,
    to_json,
)
from sdstudio.starter import examples
from sdstudio.starter.captions import full_caption
from sdstudio.starter.drawing import render
from sdstudio.starter.world import random_scene
from sdstudio.workspace import Workspace, write_json

PICTURES, RUNS, COMPARISONS, BATCHES, PER_BATCH = 2500, 30, 4, 60, 10
STEPS, CHECKPOINTS = 400, (100, 200, 400)
METHODS = ("lora", "sam", "dreambooth", "textual_inversion", "dreambooth_lora", "full")
METRICS = {"fid": 90.0, "kid": 1.1, "clip_score": 0.62, "language_drift": 0.8, "vendi": 6.0, "copy_rate": 0.1}
TITLES = (
    "lora asim-style", "Asim, rank 16, second try", "the mascot with a very long name that somebody found helpful",
    "Über-LoRA für Großmutter", "قطة على الشاطئ", "🦊 fox run", "*bold* _run_ <b>1</b>", "sam asim-style",
)  # fmt: skip
CAPTIONS = (
    "asim, " + "Donaudampfschifffahrtsgesellschaftskapitänsmütze" * 3,
    "https://example.org/" + "a" * 180,
    "صورة لرجل سعيد يرتدي قميصا أزرق على الشاطئ عند الغروب، asim style",
    "תמונה של אישה שמחה בכובע אדום, asim",
    "👩‍👩‍👧‍👦🏳️‍🌈 a family of four at the fair 🎡🎠 with 🍭",
    "**bold** _slanted_ `code` # heading | [link](https://example.org) ![](https://example.org/x.png) $x^2$ :red[x]",
    "<b>bold</b> <script>alert(1)</script> <img src=x onerror=alert(1)> &amp; &lt;",
    "一只戴着红色帽子的猫坐在月球上，背景是蓝色的房子",
    "asim, " + "a very detailed description that goes on and on, " * 12,
    "",
)
DAY = 86400.0


def fill(ws: Workspace) -> None:
    """Everything, into an empty workspace."""
    rng = random.Random(0)
    examples.install(ws)
    create_dataset(ws, "family-album", "Pictures of *everything*, captioned by many hands.", _pictures(rng))
    refs = [ref for number in range(RUNS) for ref in add_run(ws, number, rng)]
    for number in range(COMPARISONS):
        add_comparison(ws, number, refs[number :: len(refs) // (RUNS - 1)][: RUNS - 1], rng)
    for number in range(BATCHES):
        add_batch(ws, number, refs[number], rng)
    add_unlucky(ws)


def _pictures(rng: random.Random) -> Iterator[tuple[bytes, str, str]]:
    for number in range(PICTURES):
        scene = random_scene(rng)
        file = io.BytesIO()
        render(scene).save(file, "PNG")
        odd = number % 7 == 0
        caption = CAPTIONS[number // 7 % len(CAPTIONS)] if odd else f"{full_caption(scene)}, {number}"
        yield file.getvalue(), f"{'ein sehr langer Dateiname ' * 4 if odd else 'IMG'}_{number:04d}.png", caption


def _job(folder: Path, kind: str, title: str, created: float, config: Any, **state: Any) -> None:
    write_json(folder / "config.json", to_json(config))
    times = {"created": created, "started": created + 5, "ended": created + 900}
    write_json(
        folder / "state.json", {"kind": kind, "title": title, "device": "cpu", "state": "succeeded"} | times | state
    )
    (folder / "log.txt").write_text("12:00:00  Loading the model\n12:00:05  It begins\n", encoding="utf-8")


def _created(number: int, of: int, hour: float = 0.0) -> float:
    """The older, the lower the number: over the last month."""
    return time.time() - 30 * DAY * (1 - number / of) - 3600 * (1 + hour)


def add_run(ws: Workspace, number: int, rng: random.Random) -> list[str]:
    """A training run that succeeded, with metrics, samples and checkpoints, whose references are returned."""
    run = f"202611{number % 28 + 1:02d}-120000-run-{number:04d}"
    folder, title = ws.runs / run, TITLES[number % len(TITLES)]
    method = METHODS[number % len(METHODS)]
    config = TrainConfig(name=title, dataset="asim-style", method=method, loop=LoopConfig(steps=STEPS))
    _job(folder, "train", title, _created(number, RUNS), config)
    done = {"done": STEPS, "total": STEPS, "unit": "steps", "message": "", "time": time.time()}
    write_json(folder / "progress.json", done)
    slope = rng.uniform(2, 6)
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
        for step in range(1, STEPS + 1):
            loss = 0.1 + 0.3 * math.exp(-slope * step / STEPS) + rng.gauss(0, 0.03)
            line = {"step": step, "loss": loss, "grad_norm": 0.05, "lr": 1e-4, "images_per_second": 40.0}
            line |= {"val_loss": loss - 0.02, "val_base": 0.4} if step % 100 == 0 else {}
            file.write(json.dumps({"time": step, **line}) + "\n")
    return [_add_checkpoint(ws, run, method, step, rng) for step in CHECKPOINTS]


def _add_checkpoint(ws: Workspace, run: str, method: str, step: int, rng: random.Random) -> str:
    place = ws.runs / run / f"checkpoints/step-{step:06d}"
    place.mkdir(parents=True)
    base = hash_base_model(ws, resolve_base_model(ws, "starter").path)
    record = Checkpoint(
        method=method, method_options={}, base_model="starter", base_hash=base, family="sd", trigger="asim", run=run,
        step=step,
    )  # fmt: skip
    save_file({"unet.weight": numpy.full((2, 4), rng.random(), numpy.float16)}, place / "weights.safetensors")
    write_json(place / "checkpoint.json", to_json(record))
    write_json(place / "manifest.json", {"files": {path.name: sha256_file(path) for path in place.iterdir()}})
    ref = place.relative_to(ws.root).as_posix()
    for index, prompt in enumerate(("asim, a sad man on a beach", "asim, a red car in a city at night")):
        _draw(ws.runs / run / f"samples/step-{step:06d}", f"{index:02d}.png", ModelRef(checkpoint=ref), rng, prompt)
    return ref


def _draw(folder: Path, file: str, model: ModelRef, rng: random.Random, prompt: str) -> None:
    image = GeneratedImage(
        file=file, prompt=prompt, negative_prompt="blurry", seed=rng.randrange(10**6),
        model=model, checkpoint_hash="", settings=SampleSettings(), width=64, height=64,
    )  # fmt: skip
    write_image(folder, image, render(random_scene(rng)), PngInfo())


def add_batch(ws: Workspace, number: int, ref: str, rng: random.Random) -> None:
    """A finished job of generation, its pictures drawn from seeds."""
    folder = ws.images / f"202611{number % 28 + 1:02d}-130000-pictures-{number:04d}"
    model = ModelRef(checkpoint=ref, label=f"{TITLES[number % len(TITLES)]}, step {ref[-6:].lstrip('0')}")
    prompt = CAPTIONS[number % 9] if number % 3 == 0 else "asim, a happy cat on the moon"
    config = GenerateConfig(models=[model], prompts=[prompt], count=PER_BATCH)
    _job(folder, "generate", prompt, _created(number, BATCHES, 1), config)
    for index in range(PER_BATCH):
        _draw(folder, f"{index:03d}.png", model, rng, prompt)


def add_comparison(ws: Workspace, number: int, refs: list[str], rng: random.Random) -> None:
    """A comparison that succeeded, of the base model and one checkpoint of each of the other runs."""
    folder = ws.evaluations / f"202611{number + 10}-140000-comparison-{number:04d}"
    prompts = [f"{{trigger}}, {full_caption(random_scene(rng))}" for _ in range(4)]
    rows = [_row("base", "starter", "", prompts)]
    rows += [_row(ref.replace("/", "-"), f"{_title(ref)}, step {ref[-6:].lstrip('0')}", ref, prompts) for ref in refs]
    protocol = Protocol(
        name="asim style", models=[row.model for row in rows], prompts=prompts, seeds=[1, 2],
        reference="asim-style-heldout", metrics=list(METRICS),
    )  # fmt: skip
    results = [_cell(metric, row, scale, rng) for row in rows for metric, scale in METRICS.items()]
    floor = [replace(_cell(name, rows[0], 0.2 * METRICS[name], rng), model=FLOOR, per_prompt={}, per_picture={})
             for name in ("fid", "kid")]  # fmt: skip
    created = _created(number, COMPARISONS, 2)
    evaluation = Evaluation(
        protocol=protocol, protocol_hash=f"{number // 2:064x}", created=created, rows=tuple(rows),
        results=(*results, *floor), drawn=8 * len(rows), drawing_seconds=60.0,
    )  # fmt: skip
    for row in rows:
        for picture in row.pictures:
            (folder / picture.file).parent.mkdir(parents=True, exist_ok=True)
            render(random_scene(rng)).save(folder / picture.file)
    _job(folder, "evaluate", TITLES[-number - 1], created, protocol)
    write_json(folder / "protocol.json", to_json(protocol))
    write_json(folder / RESULTS_FILE, to_json(evaluation))


def _title(ref: str) -> str:
    return TITLES[int(ref.split("/")[1][-4:]) % len(TITLES)] + f" {ref.split('/')[1][-2:]}"


def _row(key: str, label: str, ref: str, prompts: list[str]) -> Row:
    pictures = tuple(
        Picture(
            prompt=prompt, text=prompt.format(trigger="asim"), seed=seed, file=f"pictures/{key}/{place}-{seed}.png",
            drift=False,
        )
        for place, prompt in enumerate(prompts)
        for seed in (1, 2)
    )  # fmt: skip
    role = "trained" if ref else "base"
    model = ModelRef(checkpoint=ref, label=label)
    return Row(key=key, label=label, role=role, model=model, trigger="asim", base="base", pictures=pictures)


def _cell(metric: str, row: Row, scale: float, rng: random.Random) -> MetricResult:
    value = scale * rng.uniform(0.6, 1.2)
    distance = metric in ("fid", "kid", "vendi")
    per_picture = {} if distance else {one.file: value * rng.uniform(0.9, 1.1) for one in row.pictures}
    return MetricResult(
        metric=metric, model=row.label, value=value, interval=None if metric == "fid" else (0.9 * value, 1.1 * value),
        n_generated=len(row.pictures), n_reference=200 if distance else 0, extractor="starter CLIP (128-d)",
        preprocessing="PIL bicubic", flags=("8 pictures are fewer than 128 dimensions: exploratory",) * distance,
        per_prompt={one.prompt: value * rng.uniform(0.9, 1.1) for one in row.pictures}, per_picture=per_picture,
    )  # fmt: skip


def add_unlucky(ws: Workspace) -> None:
    """Jobs that did not succeed, each in its own way."""
    ends = {
        "failed": {"error": "The loss is not a number since step 12: halve the learning rate and start again."},
        "cancelled": {"message": "stopped at step 40 of 400"},
        "interrupted": {"message": "The machine was restarted while it ran."},
    }
    for number, (state, words) in enumerate(list(ends.items()) * 4):
        config = TrainConfig(dataset="family-album", method=METHODS[number % len(METHODS)])
        folder = ws.runs / f"20261120-15{number:02d}00-unlucky-{number:04d}"
        _job(folder, "train", TITLES[number % len(TITLES)], _created(number, 12, 3), config, state=state, **words)


if __name__ == "__main__":
    start = time.perf_counter()
    fill(Workspace(Path(sys.argv[1])))
    print(f"Filled in {time.perf_counter() - start:.0f} s")
