"""Whether each method learns, on the starter's style set.   python bench/methods.py [METHOD ...] [--write]

Trains every method (or those named) on the 30 pictures of `asim-style` with its default options and a number of steps
that takes minutes on two cores, then compares all trained ones with the base model on 200 held-out pictures: FID and
KID in the features of the starter's CLIP, and CLIP score. Runs that the workspace holds are not trained again, so that
it may be stopped and started. Prints the table; --write puts it and the sheet of pictures into docs/methods.md.
"""

import argparse
import os
import platform
import re
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
from sdstudio.results import FLOOR, Evaluation, cells, decimals, interval_text, read_evaluation
from sdstudio.schema import LoopConfig, MetricResult, ModelRef, TrainConfig
from sdstudio.starter import examples
from sdstudio.workspace import Workspace, read_json, write_json

DOCS = Path(__file__).parents[1] / "docs"
PAGE, SHEET = DOCS / "methods.md", DOCS / "images/methods.jpg"
PLACE = re.compile(r"(?<=<!-- bench/methods.py -->\n).*?(?=<!-- end -->)", re.DOTALL)
STEPS = {"full": 300, "lora": 500, "dreambooth": 250, "textual_inversion": 300, "dreambooth_lora": 400, "sam": 300}
METRICS = {"fid": "FID ↓", "kid": "KID ↓ [95%]", "clip_score": "CLIP score ↑ [95%]"}
BASE = "base model"
TIMES = "seconds.json"
SHOWN, SIDE, MARGIN = 7, 96, 170


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", help="default: all")
    parser.add_argument("--workspace", type=Path, default=Path("build/bench-methods"))
    parser.add_argument("--write", action="store_true", help="put the table and the pictures into docs/methods.md")
    parser.add_argument("--train-only", action="store_true")
    arguments = parser.parse_args()
    ws = Workspace(arguments.workspace.resolve())
    examples.install(ws)
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread, torch {torch.__version__}"
    )
    print(machine)
    for name in arguments.methods or STEPS:
        train(ws, name)
    if arguments.train_only:
        return
    found = compare(ws)
    text = f"{table(found, read_json(ws.root / TIMES))}\n\nProtocol {found.protocol_hash[:12]}; {machine}.\n"
    print(text)
    if arguments.write:
        PAGE.write_text(PLACE.sub(lambda _: text, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        draw_sheet(found, ws.evaluations / "methods")


def train(ws: Workspace, name: str) -> None:
    """One run of the method; its seconds, class pictures and checkpoints included, are kept in the workspace."""
    times = read_json(ws.root / TIMES) if (ws.root / TIMES).is_file() else {}
    if name in times and latest_checkpoint(ws.runs / times[name]["run"]):
        return
    loop = LoopConfig(steps=STEPS[name], checkpoint_every=0, sample_every=0)
    began, used = time.perf_counter(), time.process_time()
    job = run_inline(ws, "train", TrainConfig(dataset="asim-style", method=name, loop=loop), f"bench {name}")
    if job.state != "succeeded":
        raise SystemExit(f"{name}: {job.error or job.message}")
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    print(f"{name}: {STEPS[name]} steps in {seconds:.0f} s, {processor:.0f} s of one core", flush=True)
    write_json(
        ws.root / TIMES,
        {**times, name: {"run": job.id, "steps": STEPS[name], "seconds": seconds, "processor": processor}},
    )


def compare(ws: Workspace) -> Evaluation:
    """Every trained method and the base model under one protocol."""
    labels = {name: method.label for name, method in registry.load("sdstudio.methods").items()}
    runs = read_json(ws.root / TIMES)
    models = [ModelRef(checkpoint=runs[name]["run"], label=labels[name]) for name in STEPS if name in runs]
    protocol = replace(
        examples.starter_protocol([ModelRef(label=BASE), *models]),
        name="methods",
        drift_prompts=[],
        metrics=list(METRICS),
    )
    folder = ws.evaluations / "methods"
    folder.mkdir(parents=True, exist_ok=True)
    run_evaluate(protocol, JobContext(ws, folder))
    return read_evaluation(folder)


def table(found: Evaluation, runs: dict[str, dict[str, float]]) -> str:
    """The comparison as Markdown: a row for each model, the floor last."""
    by_label = {method.label: runs.get(name, {}) for name, method in registry.load("sdstudio.methods").items()}
    lines = [f"| | steps | seconds of one core | {' | '.join(METRICS.values())} |", "|---|---:|---:|---|---|---|"]
    for label, row in cells(found.results).items():
        run = by_label.get(label, {})
        cost = [f"{run['steps']:.0f}", f"{run['processor']:.0f}"] if run else ["–", "–"]
        name = "real against real" if label == FLOOR else label
        lines.append(f"| {' | '.join([name, *cost, *(cell(row.get(metric), found) for metric in METRICS)])} |")
    return "\n".join(lines)


def cell(result: MetricResult | None, found: Evaluation) -> str:
    if result is None or result.value is None:
        return "–"
    places = decimals([other.value or 0.0 for other in found.results if other.metric == result.metric])
    return f"{result.value:.{places}f} {interval_text(result.interval, places)}".strip()


def draw_sheet(found: Evaluation, folder: Path) -> None:
    """A row of pictures for each model, the same prompts and seeds in each."""
    sheet = Image.new("RGB", (MARGIN + SHOWN * SIDE, len(found.rows) * SIDE), "white")
    pen = ImageDraw.Draw(sheet)
    for y, row in enumerate(found.rows):
        pen.text((8, y * SIDE + SIDE // 2 - 6), row.label, fill="black", font_size=13)
        for x, picture in enumerate(row.pictures[: 4 * SHOWN : 4]):
            with Image.open(folder / picture.file) as opened:
                sheet.paste(opened.convert("RGB").resize((SIDE, SIDE)), (MARGIN + x * SIDE, y * SIDE))
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(SHEET, quality=85)


if __name__ == "__main__":
    main()
