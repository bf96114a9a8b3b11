"""Everything that was measured under one protocol, whichever comparison measured it: what the scoreboard shows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from sdstudio import registry
from sdstudio.evaluation.figures import Figures, figures
from sdstudio.results import FLOOR, RESULTS_FILE, Evaluation, Row, judging, read_evaluation
from sdstudio.results.ranking import Ranking, rank
from sdstudio.schema import Metric, MetricResult, Protocol, UserError
from sdstudio.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number, and the comparison that holds it: its id, and the row with the pictures that were measured."""

    result: MetricResult
    evaluation: str
    row: Row


@dataclass(frozen=True, kw_only=True)
class Line:
    """One model on a board. `key` is that of its row; base models that were asked other texts are lines of their own.

    `row` is that of the newest comparison, `evaluation`; `cells` has for each metric the newest one's. `figures` is
    None for a base model.
    """

    key: str
    label: str
    role: str
    row: Row
    evaluation: str
    cells: dict[str, Cell] = field(default_factory=dict)
    figures: Figures | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    """The models measured under the protocol `hash`, base models first; `floor` is real against real.

    `evaluations` are the ids of its comparisons, newest first, `protocol` that of the newest.
    """

    hash: str
    protocol: Protocol
    created: float
    evaluations: tuple[str, ...]
    metrics: tuple[Metric, ...]
    lines: tuple[Line, ...]
    floor: dict[str, MetricResult]
    reference: tuple[str, ...]

    def results(self, metric: str) -> dict[str, MetricResult]:
        """The cells of one metric by their line's key."""
        return {line.key: line.cells[metric].result for line in self.lines if metric in line.cells}

    def rankings(self) -> dict[str, Ranking]:
        """Who is best by each metric."""
        return {metric.name: rank(metric, self.results(metric.name)) for metric in self.metrics}


def list_boards(ws: Workspace) -> list[Board]:
    """Every protocol that something was measured under, the one of the newest comparison first."""
    found: dict[str, dict[str, Evaluation]] = {}
    for id, evaluation in sorted(read_evaluations(ws).items(), key=lambda item: -item[1].created):
        found.setdefault(evaluation.protocol_hash, {})[id] = evaluation
    return [_board(ws, hash, evaluations) for hash, evaluations in found.items()]


def read_evaluations(ws: Workspace) -> dict[str, Evaluation]:
    """Every finished comparison by its id; those that cannot be read are passed over."""
    found = {}
    for file in ws.evaluations.glob(f"*/{RESULTS_FILE}"):
        try:
            found[file.parent.name] = _read(file.parent, file.stat().st_mtime_ns, judging.stamps(file.parent))
        except (UserError, FileNotFoundError):  # not one of this version's, or deleted meanwhile
            continue
    return found


@lru_cache(maxsize=200)
def _read(folder: Path, stamp: int, judged: tuple[int, ...]) -> Evaluation:
    return judging.judged(read_evaluation(folder), folder)


def _board(ws: Workspace, hash: str, evaluations: Mapping[str, Evaluation]) -> Board:
    newest = next(iter(evaluations.values()))
    lines: dict[str, Line] = {}
    floor: dict[str, MetricResult] = {}
    for id, evaluation in evaluations.items():
        keys = {row.label: _line_key(row) for row in evaluation.rows}
        for row in evaluation.rows:
            key = keys[row.label]
            if key not in lines:
                lines[key] = Line(
                    key=key, label=row.label, role=row.role, row=row, evaluation=id, figures=figures(ws, row.model)
                )
        rows = {row.label: row for row in evaluation.rows}
        for result in evaluation.results:
            if result.model == FLOOR:
                floor.setdefault(result.metric, result)
            elif result.model in keys:
                cell = Cell(result=result, evaluation=id, row=rows[result.model])
                lines[keys[result.model]].cells.setdefault(result.metric, cell)
    measured = {metric for line in lines.values() for metric in line.cells}
    records: Mapping[str, Metric] = registry.load("sdstudio.metrics")
    order = dict.fromkeys([*newest.protocol.metrics, *records])
    return Board(
        hash=hash,
        protocol=newest.protocol,
        created=newest.created,
        evaluations=tuple(evaluations),
        metrics=tuple(records[name] for name in order if name in measured and name in records),
        lines=tuple(sorted(_distinct(lines), key=lambda line: line.role != "base")),
        floor=floor,
        reference=newest.reference,
    )


def _line_key(row: Row) -> str:
    return f"{row.key} {row.trigger}" if row.role == "base" and row.trigger else row.key


def _distinct(lines: Mapping[str, Line]) -> list[Line]:
    """The lines, with what tells them apart added to labels that several share."""
    counts = Counter(line.label for line in lines.values())
    return [
        line if counts[line.label] == 1 else replace(line, label=f"{line.label} ({_mark(line)})")
        for line in lines.values()
    ]


def _mark(line: Line) -> str:
    if line.role == "base":
        return f"asked as {line.row.trigger}" if line.row.trigger else "asked without a trigger"
    return line.figures.run if line.figures else line.key
