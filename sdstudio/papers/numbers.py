"""The numbers of a study: an arm's over its seeds, their ranks, and which of a paper's orders they bear out."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sdstudio.evaluation.figures import Figures
from sdstudio.metrics.statistics import holm
from sdstudio.papers.study import Trained
from sdstudio.results import Evaluation, cells
from sdstudio.results.ranking import LEVEL, is_rankable, paired_test
from sdstudio.schema import MetricResult

Verdict = Literal[
    "held",
    "held, untested",
    "held, but not distinguishable",
    "not distinguishable",
    "mixed",
    "did not hold, untested",
    "did not hold",
    "cannot be told",
]
READ: dict[str, Callable[[Figures], float | None]] = {
    "steps": lambda run: run.step,
    "seconds": lambda run: run.seconds,
    "storage": lambda run: run.storage,
    "memory": lambda run: run.memory,
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An arm's values by one metric, a seed each; `per_prompt` is the mean over seeds."""

    values: tuple[float, ...]
    per_prompt: dict[str, float]
    cell: MetricResult

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def measured(evaluation: Evaluation, runs: Sequence[Trained], metric: str) -> dict[str, Measured]:
    """For each arm that has a value for every one of its seeds: arm's name -> what was measured."""
    table = cells(evaluation.results)
    found: dict[str, list[MetricResult]] = {}
    for run in runs:
        cell = table.get(run.label, {}).get(metric)
        found.setdefault(run.arm.name, []).extend([cell] if cell else [])
    counts = {name: sum(run.arm.name == name for run in runs) for name in found}
    return {name: joined(of) for name, of in found.items() if of and len(of) == counts[name] and _all_known(of)}


def _all_known(of: Sequence[MetricResult]) -> bool:
    return all(cell.value is not None for cell in of)


def joined(of: Sequence[MetricResult]) -> Measured:
    """Several cells of one arm as one."""
    values = tuple(cell.value for cell in of if cell.value is not None)
    prompts = [prompt for prompt in of[0].per_prompt if all(prompt in cell.per_prompt for cell in of)]
    per_prompt = {prompt: statistics.fmean(cell.per_prompt[prompt] for cell in of) for prompt in prompts}
    flags = tuple(dict.fromkeys(flag for cell in of for flag in cell.flags))
    cell = replace(of[0], value=statistics.fmean(values), per_prompt=per_prompt, flags=flags)
    return Measured(values=values, per_prompt=per_prompt, cell=cell)


def values_of(numbers: Mapping[str, Mapping[str, Measured]]) -> dict[str, "Values"]:
    """What `judge` takes of measured arms: those cells that can be ranked."""
    return {
        metric: {arm: (one.values, one.per_prompt) for arm, one in arms.items() if is_rankable(one.cell)}
        for metric, arms in numbers.items()
    }


def of_figures(found: Mapping[str, Sequence[Figures]], name: str) -> dict[str, tuple[float, ...]]:
    """A figure of every arm's runs, such as 'seconds': arm's name -> values, for arms where all are known."""
    read = {arm: [READ[name](run) for run in runs] for arm, runs in found.items()}
    return {arm: tuple(one for one in values if one is not None) for arm, values in read.items() if None not in values}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An order that a paper reports: by `measure`, where less is better or more, `first` is better than `second`.

    `said` are the paper's own words and numbers.
    """

    measure: str
    better: Literal["higher", "lower"]
    first: str
    second: str
    said: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim and what the numbers say of it; `p` is Holm-adjusted, None where nothing could be tested over prompts."""

    claim: Claim
    verdict: Verdict
    values: tuple[float, float] | None = None
    seeds: tuple[int, int] = (0, 0)
    p: float | None = None


Values = Mapping[str, tuple[tuple[float, ...], Mapping[str, float]]]
"""By arm: a value a seed, and a value a prompt (empty where a measure has none)."""


def judge(claims: Sequence[Claim], numbers: Mapping[str, Values]) -> list[Judged]:
    """What `numbers` (measure -> arm -> values) say of the claims.

    A claim held where the means and every seed are in its order and, if there are values by prompt, the paired test
    over them tells the two apart at 5% after Holm over all claims; it is mixed where seeds disagree, and untested where
    there is one seed and no value by prompt. What was not measured, or is exploratory, cannot be told.
    """
    raw = {str(index): _p(claim, numbers) for index, claim in enumerate(claims)}
    adjusted = holm({index: p for index, p in raw.items() if p is not None})
    return [_judged(claim, numbers, adjusted.get(str(index))) for index, claim in enumerate(claims)]


def _two(claim: Claim, numbers: Mapping[str, Values]) -> tuple[tuple[tuple[float, ...], Mapping[str, float]], ...]:
    arms = numbers.get(claim.measure, {})
    return tuple(arms[name] for name in (claim.first, claim.second) if name in arms)


def _p(claim: Claim, numbers: Mapping[str, Values]) -> float | None:
    two = _two(claim, numbers)
    return paired_test(two[0][1], two[1][1]) if len(two) == 2 and two[0][1] and two[1][1] else None


def _judged(claim: Claim, numbers: Mapping[str, Values], p: float | None) -> Judged:
    two = _two(claim, numbers)
    if len(two) < 2:
        return Judged(claim=claim, verdict="cannot be told")
    sign = 1 if claim.better == "higher" else -1
    gains = [sign * (first - second) for first, second in zip(two[0][0], two[1][0], strict=True)]
    agree = sum(gain > 0 for gain in gains)
    means = (statistics.fmean(two[0][0]), statistics.fmean(two[1][0]))
    verdict = _verdict(agree, len(gains), p)
    return Judged(claim=claim, verdict=verdict, values=means, seeds=(agree, len(gains)), p=p)


def _verdict(agree: int, seeds: int, p: float | None) -> Verdict:
    if p is None and seeds == 1:
        return "held, untested" if agree else "did not hold, untested"
    if agree == seeds:
        return "held" if p is None or p < LEVEL else "held, but not distinguishable"
    if p is not None and p >= LEVEL:
        return "not distinguishable"
    return "mixed" if agree else "did not hold"
