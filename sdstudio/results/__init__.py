"""What an evaluation leaves in its folder, and how its numbers are read. No torch: pages read it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sdstudio import registry
from sdstudio.results.ranking import Ranking, rank
from sdstudio.schema import Metric, MetricResult, ModelRef, Protocol, from_json
from sdstudio.workspace import read_json

if TYPE_CHECKING:
    import pandas as pd

FLOOR = "Floor: real against real"
RESULTS_FILE = "results.json"
PICTURES_FOLDER = "pictures"
ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One generated picture: `prompt` as the protocol has it, `text` as the model got it; `file` in the folder."""

    prompt: str
    text: str
    seed: int
    file: str
    drift: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of a comparison. `key` names its folder of pictures, `base` the key of the row it is paired with.

    `flags` are those of its pictures, each once.
    """

    key: str
    label: str
    role: Literal["base", "trained"]
    model: ModelRef
    trigger: str
    base: str
    pictures: tuple[Picture, ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`results.json`: a whole comparison. `reference` are the paths of the real pictures, within the workspace.

    Of its pictures `drawn` were drawn for it, in `drawing_seconds`; the others were there.
    """

    protocol: Protocol
    protocol_hash: str
    created: float
    rows: tuple[Row, ...]
    results: tuple[MetricResult, ...]
    reference: tuple[str, ...] = ()
    drawn: int = 0
    drawing_seconds: float = 0.0


def read_evaluation(folder: Path) -> Evaluation:
    """The comparison in `folder`; a UserError when it has no results (yet)."""
    return from_json(Evaluation, read_json(folder / RESULTS_FILE))


def read_results(folder: Path) -> list[MetricResult]:
    """All cells of the comparison in `folder`: base models first, then trained ones, then the floor."""
    return list(read_evaluation(folder).results)


def metrics_of(results: Sequence[MetricResult]) -> list[Metric]:
    """The metrics that `results` hold, in their order."""
    records = registry.load("sdstudio.metrics")
    return [records[name] for name in dict.fromkeys(result.metric for result in results) if name in records]


def cells(results: Sequence[MetricResult]) -> dict[str, dict[str, MetricResult]]:
    """{model label: {metric name: cell}}, models in their order."""
    table: dict[str, dict[str, MetricResult]] = {}
    for result in results:
        table.setdefault(result.model, {})[result.metric] = result
    return table


def rankings(results: Sequence[MetricResult]) -> dict[str, Ranking]:
    """For each metric the places of the models, by their labels; the floor has none."""
    columns: dict[str, dict[str, MetricResult]] = {}
    for result in results:
        if result.model != FLOOR:
            columns.setdefault(result.metric, {})[result.model] = result
    return {metric.name: rank(metric, columns.get(metric.name, {})) for metric in metrics_of(results)}


# ---------------------------------------------------------------- numbers as text


def decimals(values: Sequence[float]) -> int:
    """Decimal places that show three significant digits of the largest of `values`."""
    largest = max((abs(value) for value in values), default=0.0)
    return min(max(2 - math.floor(math.log10(largest)), 0), 6) if largest > 0 else 3


def decimals_of(results: Sequence[MetricResult], metric: str) -> int:
    """The same for all values of one metric among `results`, so that its column lines up."""
    return decimals([result.value or 0.0 for result in results if result.metric == metric])


def interval_text(interval: tuple[float, float] | None, places: int) -> str:
    return f"[{interval[0]:.{places}f}, {interval[1]:.{places}f}]" if interval else ""


def count_text(result: MetricResult) -> str:
    """'24' or, where there is a reference, '24 vs 30'."""
    return f"{result.n_generated} vs {result.n_reference}" if result.n_reference else str(result.n_generated)


# ---------------------------------------------------------------- tables


def results_table(results: Sequence[MetricResult]) -> "pd.DataFrame":
    """A row per model, base first and floor last.

    Columns: Model; for each metric its label (the value), '<label> interval' (95%, empty where none is honest),
    '<label> N' and, where pictures are paired, '<label> ÷ base'; then Extractor and Flags.
    """
    import pandas as pd

    metrics = metrics_of(results)
    lines = []
    for model, row in cells(results).items():
        line: dict[str, Any] = {"Model": model}
        for metric in metrics:
            cell = row.get(metric.name)
            places = decimals_of(results, metric.name)
            line[metric.label] = cell.value if cell else None
            line[f"{metric.label} interval"] = interval_text(cell.interval, places) if cell else ""
            line[f"{metric.label} N"] = count_text(cell) if cell else ""
            if any(result.versus_base for result in results if result.metric == metric.name):
                line[f"{metric.label} ÷ base"] = cell.versus_base.ratio if cell and cell.versus_base else None
        line["Extractor"] = ", ".join(dict.fromkeys(cell.extractor for cell in row.values()))
        line["Flags"] = "; ".join(f"{cell.metric}: {flag}" for cell in row.values() for flag in cell.flags)
        lines.append(line)
    table = pd.DataFrame(lines)
    return table.astype({name: "float64" for name in table.columns if _is_number(name, metrics)})


def _is_number(column: str, metrics: Sequence[Metric]) -> bool:
    return any(column in (metric.label, f"{metric.label} ÷ base") for metric in metrics)


def results_text(results: Sequence[MetricResult], protocol_hash: str = "") -> str:
    """A table for the terminal: a line per model with value, interval and N; then the flags as notes, and a legend."""
    metrics = metrics_of(results)
    notes: dict[str, int] = {}
    lines = [["Model", *(f"{metric.label} {ARROWS[metric.better]}" for metric in metrics)]]
    for model, row in cells(results).items():
        line = [model]
        for metric in metrics:
            cell = row.get(metric.name)
            numbers = [notes.setdefault(flag, len(notes) + 1) for flag in cell.flags] if cell else []
            marks = f" ({', '.join(map(str, numbers))})" if numbers else ""
            line.append(_cell_text(cell, results) + marks)
        lines.append(line)
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    table = ["   ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    extractors = ", ".join(dict.fromkeys(result.extractor for result in results))
    legend = f"[low, high]: 95% interval. N: pictures drawn vs real ones. Encoder: {extractors}."
    legend += f" Protocol {protocol_hash[:12]}." if protocol_hash else ""
    return "\n".join([*table, *(f"({number}) {flag}" for flag, number in notes.items()), legend])


def _cell_text(cell: MetricResult | None, results: Sequence[MetricResult]) -> str:
    if cell is None:
        return "-"
    if cell.value is None:
        return "not computed"
    places = decimals_of(results, cell.metric)
    parts = [f"{cell.value:.{places}f}", interval_text(cell.interval, places), f"N {count_text(cell)}"]
    if cell.versus_base and cell.versus_base.ratio is not None:
        parts.append(f"×{cell.versus_base.ratio:.2f} base")
    return " ".join(part for part in parts if part)
