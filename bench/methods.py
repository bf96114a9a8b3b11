"""Whether each method learns, on the starter's style set.   python bench/methods.py [METHOD ...] [--workspace FOLDER]

Trains every method (or those named) on the 30 pictures of `asim-style` with its default options and a number of steps
that takes minutes on two cores, then compares all trained ones with the base model on 200 held-out pictures: FID and
KID in the features of the starter's CLIP, and CLIP score. Runs that the workspace holds are not trained
again. Prints the table and the time of each; with --sheet FILE a picture of what each model draws.
"""

import argparse
import os
import platform
import time
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from sdstudio import registry
from sdstudio.evaluation import run_evaluate
from sdstudio.jobs.context import JobContext
from sdstudio.jobs.inline import run_inline
from sdstudio.models import latest_checkpoint
from sdstudio.results import read_evaluation, read_results, results_text
from sdstudio.schema import LoopConfig, ModelRef, TrainConfig
from sdstudio.starter import examples
from sdstudio.workspace import Workspace, read_json, write_json

STEPS = {"full": 300, "lora": 500, "dreambooth": 250, "textual_inversion": 500, "dreambooth_lora": 400, "sam": 300}
TIMES = "seconds.json"
SHOWN = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", help="default: all")
    parser.add_argument("--workspace", type=Path, default=Path("build/bench-methods"))
    parser.add_argument("--sheet", type=Path, help="write a sheet of pictures here")
    parser.add_argument("--train-only", action="store_true")
    arguments = parser.parse_args()
    ws = Workspace(arguments.workspace.resolve())
    examples.install(ws)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in arguments.methods or STEPS:
        train(ws, name)
    if not arguments.train_only:
        compare(ws, arguments.sheet)


def train(ws: Workspace, name: str) -> None:
    """One run of the method; its seconds, class pictures and checkpoints included, are kept in the workspace."""
    times = read_json(ws.root / TIMES) if (ws.root / TIMES).is_file() else {}
    if name in times:
        return
    loop = LoopConfig(steps=STEPS[name], checkpoint_every=0, sample_every=0)
    began, used = time.perf_counter(), time.process_time()
    job = run_inline(ws, "train", TrainConfig(dataset="asim-style", method=name, loop=loop), f"bench {name}")
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    assert job.state == "succeeded", job.error
    said = {"run": job.id, "steps": STEPS[name], "seconds": seconds, "processor": processor}
    print(f"{name}: {STEPS[name]} steps in {seconds:.0f} s, {processor:.0f} s of one processor", flush=True)
    write_json(ws.root / TIMES, {**times, name: said})


def compare(ws: Workspace, sheet: Path | None) -> None:
    """Every trained method and the base model under one protocol."""
    labels = {name: method.label for name, method in registry.load("sdstudio.methods").items()}
    times = {name: run for name, run in read_json(ws.root / TIMES).items() if latest_checkpoint(ws.runs / run["run"])}
    models = [ModelRef(checkpoint=times[name]["run"], label=labels[name]) for name in STEPS if name in times]
    protocol = replace(
        examples.starter_protocol([ModelRef(label="base"), *models]),
        name="methods",
        drift_prompts=[],
        metrics=["fid", "kid", "clip_score"],
    )
    folder = ws.evaluations / "methods"
    folder.mkdir(parents=True, exist_ok=True)
    run_evaluate(protocol, JobContext(ws, folder))
    print(results_text(read_results(folder), read_evaluation(folder).protocol_hash))
    for name, run in times.items():
        print(
            f"{labels[name]:24} {run['steps']:5} steps {run['seconds']:6.0f} s, {run['processor']:6.0f} s of one core"
        )
    if sheet:
        draw_sheet(folder, sheet)


def draw_sheet(folder: Path, file: Path) -> None:
    """A row of pictures for each model, the same prompts and seeds in each."""
    rows = [row for row in read_evaluation(folder).rows]
    side, margin = 96, 150
    sheet = Image.new("RGB", (margin + SHOWN * side, len(rows) * side), "white")
    pen = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        pen.text((8, y * side + side // 2 - 6), row.label, fill="black", font_size=13)
        for x, picture in enumerate(row.pictures[: 4 * SHOWN : 4]):
            with Image.open(folder / picture.file) as opened:
                sheet.paste(opened.convert("RGB").resize((side, side)), (margin + x * side, y * side))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)


if __name__ == "__main__":
    main()
