"""The page of `paper sam`: its tables, curves, pictures, and which of the paper's orders held."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from sdstudio.evaluation.figures import Figures
from sdstudio.papers.numbers import Claim, Measured, Values, judge, measured, of_figures, values_of
from sdstudio.papers.orders import orders
from sdstudio.papers.page import (
    column,
    heading,
    machine,
    markdown_table,
    marks_of,
    metrics_of_protocol,
    notes,
    single,
    write,
)
from sdstudio.papers.plots import Point, line_plot
from sdstudio.papers.sam import Study
from sdstudio.papers.settings import SamSettings
from sdstudio.papers.sheet import section, sheet
from sdstudio.papers.study import Trained, costs_of, real_pictures, rows_shown
from sdstudio.results import FLOOR, Evaluation, cells
from sdstudio.results.ranking import is_rankable
from sdstudio.schema import Metric, MetricResult
from sdstudio.words import count, duration, size
from sdstudio.workspace import Workspace, read_json_lines

NAME = "sam"
SMOOTH = 0.9

CLAIMS = [
    Claim(measure="fid", better="lower", first="sam", second="lora", said="FID 42.63 against 67.92"),
    Claim(measure="fid", better="lower", first="sam", second="simple", said="“significantly small FID”"),
    Claim(measure="language_drift", better="higher", first="sam", second="lora", said="LDM 0.87 against 0.81"),
    Claim(measure="language_drift", better="higher", first="lora", second="dreambooth", said="LDM 0.81 against 0.69"),
    Claim(measure="language_drift", better="higher", first="dreambooth", second="simple", said="LDM 0.69 against 0.03"),
    Claim(measure="language_drift", better="higher", first="sam", second="sam-2", said="LDM 0.87 against 0.69"),
    Claim(measure="crossed_eyes", better="lower", first="sam", second="lora", said="32.9% against 46.2%"),
    Claim(measure="crossed_eyes", better="lower", first="lora", second="dreambooth", said="46.2% against 58.7%"),
    Claim(measure="crossed_eyes", better="lower", first="sam", second="sam-3", said="0.32 against 0.58"),
    Claim(measure="seconds", better="lower", first="lora", second="sam", said="1.3 h against 2.1 h"),
    Claim(measure="seconds", better="lower", first="sam", second="dreambooth", said="2.1 h against 5 h"),
    Claim(measure="seconds", better="lower", first="dreambooth", second="simple", said="5 h against 6.9 h"),
    Claim(measure="storage", better="lower", first="lora", second="sam", said="5 MB against 1.4 GB"),
    Claim(measure="storage", better="lower", first="sam", second="dreambooth", said="1.4 GB against 5 GB"),
    Claim(measure="storage", better="lower", first="dreambooth", second="simple", said="5 GB against over 6 GB"),
]

SAID = {
    "simple": ("–", "0.03", "–", "6.9 h", "over 6 GB"),
    "lora": ("67.92", "0.81", "46.2%", "1.3 h", "5 MB"),
    "dreambooth": ("–", "0.69", "58.7%", "5 h", "5 GB"),
    "sam": ("42.63", "0.87", "32.9%", "2.1 h", "1.4 GB"),
    "sam-2": ("–", "0.69", "–", "–", "–"),
    "sam-3": ("–", "–", "58%", "–", "–"),
}
"""The paper's own figures by arm, in the order of `SAID_HEADS`."""
SAID_HEADS = ("FID per prompt", "Language drift (LDM)", "Crossed eyes", "Training time", "Checkpoint")


def write_page(ws: Workspace, settings: SamSettings, study: Study, folder: Path) -> Path:
    """Write `sam.md`, its plots and its sheet of pictures into `folder`; the page's path."""
    runs, finished = study.runs, study.finished
    arms = {run.arm.name: run.arm.label for run in runs}
    costs = costs_of(ws, runs)
    metrics = metrics_of_protocol(finished)
    numbers = {metric.name: measured(finished, runs, metric.name) for metric in metrics}
    judged = judge(CLAIMS, _values(numbers, costs))
    total = sum(run.seconds or 0.0 for found in costs.values() for run in found)
    shown = rows_shown(finished, runs)
    text = "\n\n".join(
        [
            "# SAM: Simpson's Artistic Memory, done again",
            _about(settings, runs, finished),
            "## Total comparison\n\n" + _table(metrics, numbers, arms, finished, _ratios(finished, runs)),
            notes(finished, runs),
            "## What each took\n\n" + _cost_table(costs, arms),
            "## What the paper reports\n\n" + _paper_table(arms),
            "## Which of the paper's orders held\n\n" + orders(judged, arms),
            "## Curves\n\n" + _about_curves(study.recorded),
            "\n".join(f"![{title}]({NAME}-{file}.svg)" for file, title in PLOTS.items()),
            section(f"{NAME}-pictures.jpg", "What each model draws", shown),
            machine(total),
        ]
    )
    plots = {f"{NAME}-{file}.svg": _plot(file, title, study, arms) for file, title in PLOTS.items()}
    pictures = sheet(study.folder, shown, real_pictures(ws, finished))
    return write(folder, NAME, text, {**plots, f"{NAME}-pictures.jpg": pictures})


def _values(numbers: Mapping[str, Mapping[str, Measured]], costs: Mapping[str, Sequence[Figures]]) -> dict[str, Values]:
    found = values_of(numbers)
    for name in ("seconds", "storage"):
        found[name] = {arm: (values, {}) for arm, values in of_figures(costs, name).items()}
    return found


# ---------------------------------------------------------------- words and tables


def _about(settings: SamSettings, runs: Sequence[Trained], finished: Evaluation) -> str:
    protocol = finished.protocol
    pictures = len(protocol.seeds)
    scale = (
        " The starter is a Stable Diffusion of 9 million U-Net parameters at 64 pixels, and its style a drawn one: "
        "what holds here is a hint, not a proof, for the real model, and the other way round."
        if settings.base_model == "starter"
        else ""
    )
    return (
        "Lin, Mo, Yang and Qu (CUHK-Shenzhen, 2023) compare simple fine-tuning, LoRA, DreamBooth and SAM on Stable "
        f"Diffusion 1.4 and 100 pictures. Here: base model `{settings.base_model}`, dataset `{settings.dataset}`, "
        f"{settings.epochs[-1]} epochs in batches of {settings.batch_size}, from "
        f"{count(min(run.checkpoints[-1].step for run in runs), 'step')} on, {count(settings.seeds, 'seed')} of each "
        f"variant.{scale} "
        f"Every finished model draws {count(len(protocol.prompts), 'prompt')} × {count(pictures, 'picture')} with the "
        f"identifier and {count(len(protocol.drift_prompts), 'prompt')} × {count(pictures, 'picture')} without it; the "
        f"reference is {count(len(finished.reference), 'real picture')} of `{protocol.reference}`. "
        "An epoch shows the negative examples too, so that variants that have them take more steps. "
        "`sdstudio paper sam` does all of it again; `--base-model`, `--dataset` and `--reference` take real ones."
    )


def _table(
    metrics: Sequence[Metric],
    numbers: Mapping[str, Mapping[str, Measured]],
    arms: Mapping[str, str],
    found: Evaluation,
    ratios: Mapping[str, float],
) -> str:
    table = cells(found.results)
    base = next(row.label for row in found.rows if row.role == "base")
    shown = [metric for metric in metrics if numbers[metric.name]]
    columns = {metric.name: column(metric, numbers[metric.name], list(arms)) for metric in shown}
    rows = [
        [label, *(columns[metric.name][name] for metric in shown), f"{ratios[name]:.2f}" if name in ratios else "–"]
        for name, label in arms.items()
    ]
    for label, title, ratio in ((base, "Base model", "1.00"), (FLOOR, "Floor: real against real", "–")):
        ends = [single(table.get(label, {}).get(metric.name), numbers[metric.name]) for metric in shown]
        rows.append([f"*{title}*", *ends, ratio])
    return markdown_table(["Variant", *map(heading, shown), "Language drift ÷ base"], rows)


def _ratios(found: Evaluation, runs: Sequence[Trained]) -> dict[str, float]:
    """By arm: the language drift in parts of the base model's on the same prompts and seeds, mean over seeds."""
    table = cells(found.results)
    ratios: dict[str, list[float]] = {}
    for run in runs:
        cell = table.get(run.label, {}).get("language_drift")
        if cell and cell.versus_base and cell.versus_base.ratio is not None:
            ratios.setdefault(run.arm.name, []).append(cell.versus_base.ratio)
    return {arm: statistics.fmean(values) for arm, values in ratios.items()}


def _paper_table(arms: Mapping[str, str]) -> str:
    rows = [[label, *SAID[name]] for name, label in arms.items() if name in SAID]
    return (
        markdown_table(["Variant", *SAID_HEADS], rows)
        + "\n\nOn Stable Diffusion 1.4 and an RTX 3090. Its FID is the mean over ten prompts of ten pictures each, "
        "here *FID per prompt*, which is too few for a ranking: its orders are judged by the FID of all pictures. The "
        "scale of its LDM is not that of a raw cosine. Only orders can be compared."
    )


def _cost_table(costs: Mapping[str, Sequence[Figures]], arms: Mapping[str, str]) -> str:
    shows = {"steps": "{:,.0f}".format, "seconds": duration, "storage": size, "memory": size}
    titles = {"steps": "Steps", "seconds": "Training time", "storage": "Checkpoint", "memory": "Peak memory"}
    columns = {name: of_figures(costs, name) for name in titles}
    rows = [
        [
            label,
            *(shows[name](statistics.fmean(found[arm])) if found.get(arm) else "–" for name, found in columns.items()),
        ]
        for arm, label in arms.items()
    ]
    return (
        markdown_table(["Variant", *titles.values()], rows)
        + "\n\nMeans over seeds. The time is that of the steps alone, the memory what the whole process held."
    )


# ---------------------------------------------------------------- curves and pictures

PLOTS = {"loss": "Training loss", "validation": "Validation loss", "fid": "FID", "kid": "KID", "clip": "CLIP score"}
_OF_PLOT = {"fid": "fid", "kid": "kid", "clip": "clip_score"}


def _about_curves(recorded: Evaluation) -> str:
    text = (
        "Means over seeds, bars from the lowest to the highest. A training loss is taken over what the variant learns "
        "from, class pictures and negative examples included, so that variants are compared by their validation loss, "
        "which is over the same pictures and noise for all of a seed, under the captions that each learns from. "
        f"{len(recorded.protocol.prompts)} × "
        f"{count(len(recorded.protocol.seeds), 'picture')} were drawn at each recorded epoch"
    )
    weak = any(cell.metric == "fid" and not is_rankable(cell) for cell in recorded.results if cell.model != FLOOR)
    return text + (", too few for more than an exploratory FID: read its curve beside that of KID." if weak else ".")


def _plot(file: str, title: str, study: Study, arms: Mapping[str, str]) -> str:
    if file == "loss":
        return line_plot(title, "Step", {label: _losses(study.runs, name, "loss") for name, label in arms.items()})
    if file == "validation":
        return line_plot(title, "Step", {label: _losses(study.runs, name, "val_loss") for name, label in arms.items()})
    table, metric = cells(study.recorded.results), _OF_PLOT[file]
    lines = {label: _recorded(study, table, name, metric) for name, label in arms.items()}
    known = {label: line for label, line in lines.items() if line}
    return line_plot(f"{title} at the recorded epochs", "Epoch", known, marks_of(study.recorded, metric))


def _losses(runs: Sequence[Trained], arm: str, name: str) -> list[Point]:
    """By step: the mean over seeds; the training loss smoothed, and thinned to about 60 points."""
    by_step: dict[int, list[float]] = {}
    for run in runs:
        if run.arm.name == arm:
            smooth = None
            for row in read_json_lines(run.job.folder / "metrics.jsonl"):
                value = row.get(name)
                if value is not None:
                    smooth = value if smooth is None or name != "loss" else SMOOTH * smooth + (1 - SMOOTH) * value
                    by_step.setdefault(row["step"], []).append(smooth)
    steps = sorted(by_step)
    every = max(1, len(steps) // 60)
    return [Point(x=step, y=statistics.fmean(by_step[step])) for step in steps[::every]]


def _recorded(study: Study, table: Mapping[str, Mapping[str, MetricResult]], arm: str, metric: str) -> list[Point]:
    points = []
    for place, epoch in enumerate(study.epochs):
        values = [
            cell.value
            for run in study.runs
            if run.arm.name == arm and place < len(run.checkpoints)
            for cell in [table.get(f"{run.label}, step {run.checkpoints[place].step}", {}).get(metric)]
            if cell and cell.value is not None
        ]
        if values:
            points.append(Point(x=epoch, y=statistics.fmean(values), low=min(values), high=max(values)))
    return points
