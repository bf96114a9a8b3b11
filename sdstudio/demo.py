"""`sdstudio demo`: caption, train twice, evaluate, on the bundled starter, without a browser."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.jobs import run_inline
from sdstudio.schema import CaptionConfig, Job, LoopConfig, MetricResult, ModelRef, TrainConfig
from sdstudio.workspace import Workspace

STYLE = "asim-style"
DRAFTS = "asim-drafts"
"""The style pictures without their captions, so that BLIP's drafts and the detailed captions lie side by side."""
STEPS = {"lora": 800, "sam": 400}

NEXT = """What to try next
  sdstudio run                                          look at all of this in the browser
  sdstudio generate --model {lora} --prompts "asim, a dog on a beach" --count 4
  sdstudio train --dataset zorby-mascot --method lora   teach it a thing instead of a style
  sdstudio train --method sam --help                    what SAM can be told
  sdstudio dataset import ~/photos --dataset mine       pictures of your own"""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the demo: the job that did it and the seconds it took."""

    title: str
    job: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo did and found; `report` is the HTML file with the pictures."""

    steps: list[Step]
    results: list[MetricResult]
    report: Path


class StepFailed(Exception):
    """A step's job did not succeed."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"{job.title}: {job.error or job.message}")
        self.job = job


def run_demo(ws: Workspace, say: Callable[[str], None] = print) -> DemoResult:
    """Do the whole way in `ws` and tell it through `say`. New runs each time; the example datasets are reused.

    Raises StepFailed at the first job that does not succeed.
    """
    from sdstudio.results import read_evaluation, read_results, results_text
    from sdstudio.starter.examples import starter_protocol

    steps: list[Step] = []

    def step(kind: str, config: Any, title: str) -> Job:
        say(f"{len(steps) + 1}. {title}")
        began = time.monotonic()
        job = run_inline(ws, kind, config, title)
        if job.state != "succeeded":
            raise StepFailed(job)
        steps.append(Step(title=title, job=job.id, seconds=round(time.monotonic() - began, 1)))
        say(f"   done in {steps[-1].seconds:.0f} s: {job.folder}")
        return job

    _copy_without_captions(ws)
    step("caption", CaptionConfig(dataset=DRAFTS, only_empty=False), "Draft captions with BLIP")
    _show_drafts(ws, say)
    runs = {}
    for method, label in (("lora", "LoRA"), ("sam", "SAM")):
        config = TrainConfig(dataset=STYLE, method=method, loop=LoopConfig(steps=STEPS[method]))
        runs[label] = step("train", config, f"Train {label} on the style")
    models = [ModelRef(label="base"), *(ModelRef(checkpoint=run.id, label=label) for label, run in runs.items())]
    comparison = step("evaluate", starter_protocol(models), "Compare base, LoRA and SAM")

    result = DemoResult(steps=steps, results=read_results(comparison.folder), report=comparison.folder / "report.html")
    say("")
    say(results_text(result.results, read_evaluation(comparison.folder).protocol_hash))
    say("")
    for done in steps:
        say(f"{done.seconds:7.0f} s  {done.title}")
    say(f"{sum(done.seconds for done in steps):7.0f} s  in all")
    say(f"\nThe report with pictures: {result.report}\n")
    say(NEXT.format(lora=runs["LoRA"].id))
    return result


def _copy_without_captions(ws: Workspace) -> None:
    from sdstudio.datasets import create_dataset, dataset_exists, open_dataset

    if dataset_exists(ws, DRAFTS):
        drafts = open_dataset(ws, DRAFTS)
    else:
        drafts = create_dataset(ws, DRAFTS, f"The pictures of {STYLE} with BLIP's drafts for captions.")
    source = open_dataset(ws, STYLE)
    for image in source.images():
        drafts.add(source.image_path(image.id).read_bytes(), image.file_name)


def _show_drafts(ws: Workspace, say: Callable[[str], None], count: int = 3) -> None:
    from sdstudio.datasets import open_dataset

    detailed = open_dataset(ws, STYLE)
    for image in open_dataset(ws, DRAFTS).images()[:count]:
        say(f"   BLIP:     {image.machine_caption}")
        say(f"   detailed: {detailed.image(image.id).caption}")
