"""A study's page: Markdown with tables, and the files beside it."""

import os
import platform
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from sdstudio import registry
from sdstudio.papers.numbers import Measured
from sdstudio.papers.study import Trained
from sdstudio.results import ARROWS, FLOOR, Evaluation, cells, count_text, decimals
from sdstudio.results.ranking import SHARED, is_rankable, rank
from sdstudio.schema import Metric, MetricResult
from sdstudio.words import count
from sdstudio.workspace import atomic_write

ORDINALS = {1: "1st", 2: "2nd", 3: "3rd"}


# ---------------------------------------------------------------- tables


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[str] = ()) -> str:
    """A table of GitHub's Markdown; the first column and those whose heads are in `words` stand left, others right."""
    sides = "".join("---|" if head in words else "---:|" for head in heads[1:])
    lines = [f"| {' | '.join(heads)} |", f"|---|{sides}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def column(metric: Metric, found: Mapping[str, Measured], order: Sequence[str]) -> dict[str, str]:
    """By arm: the mean over seeds ± their standard deviation, and its place, or a star where it cannot be ranked."""
    digits = decimals([one.mean for one in found.values()])
    places = rank(metric, {name: one.cell for name, one in found.items()}).places
    texts = {}
    for name in order:
        if name not in found:
            texts[name] = "–"
            continue
        spread = found[name].spread
        text = f"{found[name].mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")
        place = places.get(name)
        texts[name] = f"**{text}** ({ORDINALS[place]})" if place in ORDINALS else text + _star(found[name].cell)
    return {name: text.replace("-", "−") for name, text in texts.items()}


def single(cell: MetricResult | None, column: Mapping[str, Measured]) -> str:
    """The value of the base model or the floor, with the decimals of the column that it stands in."""
    if cell is None or cell.value is None:
        return "–"
    digits = decimals([one.mean for one in column.values()])
    return f"{cell.value:.{digits}f}".replace("-", "−") + _star(cell)


def _star(cell: MetricResult) -> str:
    return "" if is_rankable(cell) else " \\*"


def heading(metric: Metric) -> str:
    return f"{metric.label} {ARROWS[metric.better]}"


def metrics_of_protocol(evaluation: Evaluation) -> list[Metric]:
    """The metrics that the comparison was asked for, in its order."""
    records: Mapping[str, Metric] = registry.load("sdstudio.metrics")
    return [records[name] for name in evaluation.protocol.metrics if name in records]


def marks_of(evaluation: Evaluation, metric: str) -> dict[str, float]:
    """What a plot of the metric marks across its width: the base model's value and the floor's, as far as known."""
    base = next(row.label for row in evaluation.rows if row.role == "base")
    table = cells(evaluation.results)
    found = {name: table.get(row, {}).get(metric) for name, row in (("base", base), ("floor", FLOOR))}
    return {name: cell.value for name, cell in found.items() if cell and cell.value is not None}


# ---------------------------------------------------------------- notes


def notes(found: Evaluation, runs: Sequence[Trained]) -> str:
    """How to read a table of means over seeds, and what weakens the cells behind it."""
    ns = ", ".join(sorted({count_text(one) for one in found.results if one.model != FLOOR and one.value is not None}))
    extractors = ", ".join(dict.fromkeys(one.extractor for one in found.results if one.extractor))
    seeds = len({run.seed for run in runs})
    spread = "Means over seeds ± their standard deviation" if seeds > 1 else "One seed, so that no spread is known"
    text = (
        f"{spread}; N of each model: {ns} (drawn vs real). 1st, 2nd, 3rd: {SHARED}; a measure without a value for each "
        "prompt is ranked by its means, which nothing tests. \\* not ranked: exploratory, or without an interval. "
        f"Features: {extractors}. Protocol `{found.protocol_hash[:12]}`."
    )
    records: Mapping[str, Metric] = registry.load("sdstudio.metrics")
    asked = [one for one in found.results if "ratings" in records[one.metric].needs]
    if asked and all(one.value is None for one in asked):
        labels = ", ".join(dict.fromkeys(records[one.metric].label for one in asked))
        text += (
            f" {labels}: for people to judge. Nobody has rated these pictures yet (Evaluate, Rating room), and no "
            "number stands in for them."
        )
    known = [one for one in found.results if one.value is not None]
    return text + "\n\n" + flags(known, {run.label: run.arm.label for run in runs})


def flags(weak: Iterable[MetricResult], arms: Mapping[str, str]) -> str:
    """Every flag once, as a list, with the measures and the models that it holds for; `arms` are names of models."""
    records: Mapping[str, Metric] = registry.load("sdstudio.metrics")
    where: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for cell in weak:
        for flag in cell.flags:
            measures, models = where.setdefault(flag, ({}, {}))
            measures[records[cell.metric].label] = None
            models[arms.get(cell.model, cell.model)] = None
    every_measure = {measure for measures, _ in where.values() for measure in measures}
    every_arm = set(arms.values())
    lines = []
    for flag, (measures, models) in where.items():
        what = "Every measure" if len(every_measure) > 1 and every_measure <= set(measures) else ", ".join(measures)
        whose = "" if every_arm <= set(models) else f" of {_names(models)}"
        lines.append(f"- {what}{whose}: {flag}")
    return "\n".join(lines)


def _names(models: Iterable[str]) -> str:
    return ", ".join("the floor" if name == FLOOR else name for name in models)


def machine(seconds: float) -> str:
    """Where, when and with what the study was done."""
    when = time.strftime("%d %B %Y")
    parts = [f"{name} {version(name)}" for name in ("sdstudio", "torch", "diffusers", "transformers", "peft")]
    return (
        f"Done on {when}, {platform.machine()}, {count(os.cpu_count() or 1, 'core')}, Python "
        f"{platform.python_version()}, {', '.join(parts)}. The steps of all runs together took {seconds / 60:.0f} "
        "minutes by the clock of a machine that may have had other work."
    )


def write(folder: Path, name: str, text: str, files: Mapping[str, str | bytes]) -> Path:
    """Write `<name>.md` and the files beside it (each name begins with `<name>-`); the page's path."""
    for file, content in files.items():
        atomic_write(folder / file, content)
    atomic_write(folder / f"{name}.md", text.rstrip() + "\n")
    return folder / f"{name}.md"
