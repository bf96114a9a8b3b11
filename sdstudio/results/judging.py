"""The cells of a comparison that are made after it: what people answered, and what was found in its pictures."""

from dataclasses import replace
from pathlib import Path

from sdstudio import registry
from sdstudio.evaluation.views import View
from sdstudio.metrics.found import LOGO_FILE
from sdstudio.metrics.sample import Sample
from sdstudio.metrics.statistics import compare
from sdstudio.ratings.store import RATINGS_FILE
from sdstudio.results import Evaluation, Row
from sdstudio.schema import Metric, MetricResult


def judged(evaluation: Evaluation, folder: Path) -> Evaluation:
    """`evaluation` with those cells as they are now: of its own metrics, and of others once they have a value."""
    metrics = [
        metric for metric in registry.load("sdstudio.metrics").values() if {"ratings", "pictures"} & set(metric.needs)
    ]
    asked = {cell.metric for cell in evaluation.results} & {metric.name for metric in metrics}
    if not asked and not any(stamps(folder)):
        return evaluation
    fresh = {(cell.metric, cell.model): cell for cell in cells(evaluation, folder, metrics)}
    asked |= {cell.metric for cell in fresh.values() if cell.value is not None}
    kept = [fresh.pop((cell.metric, cell.model), cell) for cell in evaluation.results]
    return replace(evaluation, results=(*kept, *(cell for cell in fresh.values() if cell.metric in asked)))


def stamps(folder: Path) -> tuple[int, ...]:
    """When people's answers and the last look were written, 0 for what is not there: they change with the cells."""
    return tuple(
        file.stat().st_mtime_ns if file.is_file() else 0 for file in (folder / RATINGS_FILE, folder / LOGO_FILE)
    )


def cells(evaluation: Evaluation, folder: Path, metrics: list[Metric]) -> list[MetricResult]:
    """The cells of `metrics`, which look through no encoder, for every row and paired with its base model's."""
    samples = {row.key: sample(row, folder) for row in evaluation.rows}
    found = {(key, metric.name): metric.compute(given) for key, given in samples.items() for metric in metrics}
    return [
        paired(found[row.key, metric.name], found[row.base, metric.name], row)
        for row in evaluation.rows
        for metric in metrics
    ]


def sample(row: Row, folder: Path) -> Sample:
    """A row as a metric sees it that looks through no encoder."""
    drawn = View(None).drawn([picture for picture in row.pictures if not picture.drift], folder)
    return Sample(
        model=row.label, key=row.key, folder=folder, generated=drawn, extractor="", preprocessing="", flags=row.flags
    )


def paired(result: MetricResult, base: MetricResult, row: Row) -> MetricResult:
    """The cell with its difference from the base model's on the same prompts; a base model's as it is."""
    if row.role == "base":
        return result
    return replace(result, versus_base=compare(result.per_prompt, base.per_prompt))
