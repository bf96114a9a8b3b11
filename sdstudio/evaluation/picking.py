"""Which checkpoint to keep: fidelity, prompt-following, diversity and copies weighed without adding them up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdstudio.evaluation.boards import Board, Line
from sdstudio.results.ranking import told_apart
from sdstudio.schema import Metric

ASPECTS: dict[str, tuple[str, ...]] = {
    "Fidelity": ("kid", "cmmd", "fid", "clip_image", "dino_image", "lpips_paired"),
    "Prompt-following": ("clip_score",),
    "Diversity": ("vendi", "diversity", "lpips", "recall", "coverage"),
    "Copy risk": ("copy_rate",),
}
"""What a checkpoint is picked by, and the metrics that tell it: the first that was measured counts."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One checkpoint: its value by each aspect, whether none beats it in all, and whom it cannot be told from.

    `like` are the labels of other candidates that paired tests over prompts do not tell from it in any aspect that can
    be tested; empty where nothing can be.
    """

    line: Line
    values: dict[str, float]
    on_front: bool
    like: tuple[str, ...]


def aspects_of(board: Board) -> dict[str, Metric]:
    """The aspects that the board has measured, each with its metric."""
    measured = {metric.name: metric for metric in board.metrics}
    found = {}
    for aspect, names in ASPECTS.items():
        name = next((name for name in names if name in measured), None)
        if name:
            found[aspect] = measured[name]
    return found


def candidates(board: Board, lines: Sequence[Line]) -> list[Candidate]:
    """The lines that have a value for every aspect of the board, weighed against each other."""
    aspects = aspects_of(board)
    values = {line.key: found for line in lines if (found := _values(line, aspects)) is not None}
    there = [line for line in lines if line.key in values]
    apart = _apart(there, aspects)
    return [
        Candidate(
            line=line,
            values=values[line.key],
            on_front=not any(_beats(values[other.key], values[line.key], aspects) for other in there),
            like=tuple(
                other.label
                for place, other in enumerate(there)
                if apart is not None and place != index and (min(place, index), max(place, index)) not in apart
            ),
        )
        for index, line in enumerate(there)
    ]


def _apart(lines: Sequence[Line], aspects: Mapping[str, Metric]) -> set[tuple[int, int]] | None:
    """The pairs of places that some aspect tells apart; None where no aspect can be tested over prompts."""
    tests = [told_apart([line.cells[metric.name].result.per_prompt for line in lines]) for metric in aspects.values()]
    known = [pairs for pairs in tests if pairs is not None]
    return set().union(*known) if known else None


def _values(line: Line, aspects: Mapping[str, Metric]) -> dict[str, float] | None:
    cells = {aspect: line.cells.get(metric.name) for aspect, metric in aspects.items()}
    found = {
        aspect: cell.result.value
        for aspect, cell in cells.items()
        if cell is not None and cell.result.value is not None
    }
    return found if len(found) == len(aspects) else None


def _beats(first: Mapping[str, float], second: Mapping[str, float], aspects: Mapping[str, Metric]) -> bool:
    """True where `first` is nowhere worse and somewhere better (Pareto)."""
    signs = {aspect: 1 if metric.better == "higher" else -1 for aspect, metric in aspects.items()}
    gains = [signs[aspect] * (first[aspect] - second[aspect]) for aspect in aspects]
    return min(gains) >= 0 and max(gains) > 0
