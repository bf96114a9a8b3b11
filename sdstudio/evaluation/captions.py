"""Did the captions help? Two runs that differ in their captions alone, compared prompt by prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sdstudio import jobs
from sdstudio.datasets.snapshots import diff
from sdstudio.evaluation.boards import Board, Line
from sdstudio.evaluation.measuring import trained_on
from sdstudio.metrics.statistics import compare, holm
from sdstudio.models import FoundCheckpoint, list_checkpoints
from sdstudio.results.ranking import paired_test
from sdstudio.schema import Comparison, Metric, MetricResult, Snapshot
from sdstudio.training.sweeps import differences
from sdstudio.workspace import Workspace, read_json

NOT_A_DIFFERENCE = ("name", "snapshot")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two runs of the same settings on the same pictures; `changed` captions differ from `before` to `after`.

    `before` and `after` are the runs' last checkpoints.
    """

    before: FoundCheckpoint
    after: FoundCheckpoint
    dataset: str
    changed: int
    snapshots: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A measure of `after` minus that of `before`; `paired` and the Holm-adjusted `p` where it has values by prompt."""

    metric: Metric
    before: MetricResult
    after: MetricResult
    paired: Comparison | None
    p: float | None


def caption_pairs(ws: Workspace) -> list[Pair]:
    """Every two succeeded runs that differ in nothing but their snapshots' captions; the older captions first."""
    last: dict[str, FoundCheckpoint] = {}
    for found in list_checkpoints(ws):
        last.setdefault(found.run, found)
    runs: dict[str, list[tuple[str, dict[str, Any], Snapshot]]] = {}
    for job in sorted(jobs.list_jobs(ws, "train"), key=lambda job: job.created):
        if job.state == "succeeded" and job.id in last:
            snapshot = trained_on(ws, last[job.id].ref)
            if snapshot is not None:
                config = read_json(job.folder / "config.json")
                runs.setdefault(f"{config['method']} {snapshot.dataset}", []).append((job.id, config, snapshot))
    return [
        Pair(
            before=last[first],
            after=last[second],
            dataset=one.dataset,
            changed=len(found.changed),
            snapshots=(one.hash, other.hash),
        )
        for alike in runs.values()
        for (first, config, one), (second, config2, other) in combinations(alike, 2)
        if one.hash != other.hash and not set(differences({"a": config, "b": config2})) - set(NOT_A_DIFFERENCE)
        for found in [diff(one, other)]
        if found.changed and not (found.added or found.removed) and found.fit[0] == found.fit[1]
    ]


def lines_of(board: Board, pair: Pair) -> tuple[Line, Line] | None:
    """The lines of the pair's checkpoints on the board; None where it lacks one."""
    by_checkpoint = {line.row.model.checkpoint: line for line in board.lines}
    before, after = by_checkpoint.get(pair.before.ref), by_checkpoint.get(pair.after.ref)
    return (before, after) if before and after else None


def deltas(board: Board, before: Line, after: Line) -> list[Delta]:
    """What changed in every measure that both have a value of; p-values are adjusted for their number."""
    both = [
        (metric, before.cells[metric.name].result, after.cells[metric.name].result)
        for metric in board.metrics
        if metric.name in before.cells and metric.name in after.cells
    ]
    known = [(metric, old, new) for metric, old, new in both if old.value is not None and new.value is not None]
    raw = {metric.name: paired_test(new.per_prompt, old.per_prompt) for metric, old, new in known}
    adjusted = holm({name: p for name, p in raw.items() if p is not None})
    return [
        Delta(
            metric=metric,
            before=old,
            after=new,
            paired=compare(new.per_prompt, old.per_prompt),
            p=adjusted.get(metric.name),
        )
        for metric, old, new in known
    ]


def verdict(found: Sequence[Delta], level: float = 0.05) -> str:
    """One sentence: which measures the captions helped or hurt as far as can be told."""
    told = [one for one in found if one.p is not None and one.p < level and one.paired]
    good = [one.metric.label for one in told if one.paired and _is_better(one)]
    bad = [one.metric.label for one in told if one.paired and not _is_better(one)]
    if not told:
        return "No measure tells the two apart: as far as these pictures show, the captions changed nothing."
    parts = [f"They helped {', '.join(good)}" if good else "", f"they hurt {', '.join(bad)}" if bad else ""]
    text = " and ".join(part for part in parts if part)
    return f"{text[:1].upper()}{text[1:]} (paired tests over prompts, 5%, Holm)."


def _is_better(delta: Delta) -> bool:
    gain = delta.paired.difference if delta.paired else 0.0
    return gain > 0 if delta.metric.better == "higher" else gain < 0
