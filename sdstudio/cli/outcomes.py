"""How a job that a command began is done, and what is printed about what it made."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sdstudio import jobs
from sdstudio.cli.flags import placement_of, say, table
from sdstudio.jobs.folder import CONFIG_FILE
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import Job, JobKind, ShiftFindings, from_json, to_json
from sdstudio.workspace import Workspace, current_workspace, read_json

EXIT_OK, EXIT_FAILED, EXIT_USER, EXIT_STOPPED = 0, 1, 2, 130


def do(
    ws: Workspace, arguments: argparse.Namespace, kind: str, config: Any, secrets: Mapping[str, str] | None = None
) -> int:
    """Queue the job, with `secrets` for its process, or do it here, and say how it ended; the exit code."""
    placement = placement_of(arguments)
    if arguments.detach:
        return queued(arguments, jobs.submit(ws, kind, config, secrets=secrets, placement=placement))
    return ended(arguments, jobs.run_inline(ws, kind, config))


def queued(arguments: argparse.Namespace, job: Job) -> int:
    say(arguments, to_json(job), f"Queued {job.id}; `sdstudio jobs show {job.id}` tells how it goes.")
    return EXIT_OK


def ended(arguments: argparse.Namespace, job: Job) -> int:
    """Print what the ended job made, or why it made nothing; the exit code."""
    made, text = MADE[job.kind](job) if job.state == "succeeded" and job.kind in MADE else ({}, job.message)
    if arguments.json or job.state == "succeeded":
        say(arguments, {**to_json(job), **made}, text)
    if job.state == "succeeded":
        return EXIT_OK
    print(f"sdstudio: {job.error or job.message}", file=sys.stderr)
    return EXIT_FAILED if job.state == "failed" else EXIT_STOPPED


def _imported(job: Job) -> tuple[dict[str, Any], str]:
    report = read_json(job.folder / "report.json")
    text = f"{report['added']} added, {report['duplicates']} there already, {len(report['refused'])} refused."
    return {"report": report}, text


def _pushed(job: Job) -> tuple[dict[str, Any], str]:
    report = read_json(job.folder / "report.json")
    return {"report": report}, f"{report['pictures']} pictures with their captions are at {report['url']}"


def _captioned(job: Job) -> tuple[dict[str, Any], str]:
    return {"report": read_json(job.folder / "report.json")}, f"{job.done} of {job.total} {job.unit} captioned."


def _trained(job: Job) -> tuple[dict[str, Any], str]:
    from sdstudio.cli.protocol import evaluate_command

    return {}, (
        f"Trained {job.id}, {job.done} {job.unit}; its folder is {job.folder}.\n"
        f"See what it learned: {evaluate_command(job)}"
    )


def _drawn(job: Job) -> tuple[dict[str, Any], str]:
    files = [str(job.folder / image.file) for image in read_images(job.folder)]
    return {"files": files}, "\n".join(files)


def _grid(job: Job) -> tuple[dict[str, Any], str]:
    made = [str(job.folder / name) for name in sorted(path.name for path in job.folder.glob("sheet-*.png"))]
    table = str(job.folder / "cells.csv")
    return {**_drawn(job)[0], "sheets": made, "table": table}, "\n".join([*made, table])


def _compared(job: Job) -> tuple[dict[str, Any], str]:
    from sdstudio.results import read_evaluation, results_text

    evaluation, report = read_evaluation(job.folder), job.folder / "report.html"
    text = f"{results_text(evaluation.results, evaluation.protocol_hash)}\nReport with pictures: {report}"
    facts = {"protocol_hash": evaluation.protocol_hash, "report": str(report)}
    return {"results": [to_json(result) for result in evaluation.results], **facts}, text


def _looked(job: Job) -> tuple[dict[str, Any], str]:
    from sdstudio import registry
    from sdstudio.metrics.found import LOGO_FILE, LOGO_METRICS
    from sdstudio.results import read_evaluation, results_text
    from sdstudio.results.judging import cells

    folder = _comparison_of(job)
    records = registry.load("sdstudio.metrics")
    found = cells(read_evaluation(folder), folder, [records[name] for name in LOGO_METRICS])
    file = str(folder / LOGO_FILE)
    return {"results": [to_json(cell) for cell in found], "file": file}, f"{results_text(found)}\nBy picture: {file}"


def _shifted(job: Job) -> tuple[dict[str, Any], str]:
    from sdstudio.evaluation.shifts import SHIFT_FILE

    file = _comparison_of(job) / SHIFT_FILE
    found = from_json(ShiftFindings, read_json(file))
    rows = [
        (model.label, name, f"{one.kl:.3f}", f"{one.js:.3f}", f"{one.chance:.3f}", f"{one.p_value:.3f}")
        for model in found.models
        for name, one in (("base‖trained", model.base), ("original‖trained", model.original))
    ]
    lines = [table(rows, "model", "compared", "KL", "JS", "JS by chance", "p"), *found.flags]
    models = [
        {"label": one.label, "base": to_json(one.base), "original": to_json(one.original), "left_out": one.left_out}
        for one in found.models
    ]
    facts = {"models": models, "extractor": found.extractor, "flags": found.flags, "file": str(file)}
    return facts, "\n".join([*lines, f"Divergences in nats, seen through {found.extractor}; every picture: {file}"])


def _comparison_of(job: Job) -> Path:
    """The folder of the comparison that the job looked at again."""
    return current_workspace().evaluations / str(read_json(job.folder / CONFIG_FILE)["comparison"])


def _published(job: Job) -> tuple[dict[str, Any], str]:
    report = read_json(job.folder / "report.json")
    return {"report": report}, f"The model is at {report['url']}"


MADE: dict[JobKind, Callable[[Job], tuple[dict[str, Any], str]]] = {
    "import": _imported,
    "push": _pushed,
    "caption": _captioned,
    "train": _trained,
    "generate": _drawn,
    "grid": _grid,
    "evaluate": _compared,
    "logo": _looked,
    "shift": _shifted,
    "publish": _published,
}
"""For each kind of job, what it made: keys beside those of the job in --json, and a text."""
