"""Who is best, and whom the numbers cannot tell from the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile

from sdstudio.metrics.sample import EXPLORATORY, NO_INTERVAL, REFUSED
from sdstudio.metrics.statistics import holm, sign_flip_test
from sdstudio.schema import Metric, MetricResult

LEVEL = 0.05
PLACES = 3
"""Best, second and third are shown."""
SHARED = (
    "rows share a place down to the first that a paired sign-flip test over prompts tells from the best of them "
    "(5%, Holm)"
)
"""How places are given, as tables say it."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The places of the rows that can be ranked by one metric, from 1; the best of a place is not told from the others.

    `tested` is False where the metric gives no value for each prompt: then places follow the values alone. `why_not`
    says in words why nothing is ranked, or what the test could never have shown.
    """

    places: dict[str, int]
    tested: bool = False
    why_not: str = ""


def is_rankable(result: MetricResult) -> bool:
    """False for a cell that was refused, is exploratory, or got no interval where its metric gives one."""
    unranked = (EXPLORATORY, NO_INTERVAL, REFUSED)
    return result.value is not None and not any(flag.startswith(unranked) for flag in result.flags)


def rank(metric: Metric, cells: Mapping[str, MetricResult]) -> Ranking:
    """Rank the rows (key -> cell) by `metric`.

    A place goes to the best row that has none and to those after it, down to the first that a paired sign-flip test
    over prompts tells from it, at 5% after Holm's adjustment over all pairs of rows. A row that is behind one that was
    told apart never shares the leader's place, however much its prompts scatter. Rows without a value, exploratory
    ones, and rows of unequal N, extractor or preprocessing are not ranked, and none is where no two are told apart.
    """
    fit = {key: cell for key, cell in cells.items() if is_rankable(cell)}
    values = {key: cell.value for key, cell in fit.items() if cell.value is not None}
    if len(values) < 2:
        return Ranking(places={}, why_not="fewer than two rows can be ranked")
    if len({(cell.n_generated, cell.n_reference, cell.extractor, cell.preprocessing) for cell in fit.values()}) > 1:
        return Ranking(places={}, why_not="rows differ in N, extractor or preprocessing")
    order = sorted(values, key=values.__getitem__, reverse=metric.better == "higher")
    apart = told_apart([fit[key].per_prompt for key in order])
    if apart is None:
        ranks = [values[key] for key in order]
        return Ranking(places={key: 1 + ranks.index(values[key]) for key in order})
    places: dict[str, int] = {}
    left = list(range(len(order)))
    while left:
        together, place = _together(left, apart), len(places) + 1
        places |= {order[index]: place for index in together}
        left = left[len(together) :]
    powerless = _powerless(len(order), fit[order[0]].per_prompt)
    if len(set(places.values())) == 1:
        return Ranking(places={}, tested=True, why_not=powerless or "paired tests tell no row from another")
    return Ranking(places=places, tested=True, why_not=powerless)


def _together(left: Sequence[int], apart: set[tuple[int, int]]) -> list[int]:
    """The first of `left` and those after it down to the first that is told from it."""
    leader, *others = left
    return [leader, *takewhile(lambda index: (leader, index) not in apart, others)]


def told_apart(values: Sequence[Mapping[str, float]]) -> set[tuple[int, int]] | None:
    """The pairs (i, j), i < j, whose paired differences over shared prompts are not zero by chance, at 5% after Holm.

    None where some row has no value for each prompt.
    """
    if not all(len(row) > 1 for row in values):
        return None
    raw = {
        (first, second): paired_test(values[first], values[second])
        for first, second in combinations(range(len(values)), 2)
    }
    known = {f"{first} {second}": p for (first, second), p in raw.items() if p is not None}
    adjusted = holm(known)
    return {pair for pair in raw if adjusted.get(f"{pair[0]} {pair[1]}", 1.0) < LEVEL}


def paired_test(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """p-value of the differences over the prompts that both have; None for fewer than two."""
    return sign_flip_test([first[prompt] - second[prompt] for prompt in first if prompt in second])


def _powerless(rows: int, prompts: Mapping[str, float]) -> str:
    """Said where so few prompts could never tell so many rows apart: the least p of n signs is 2 / 2ⁿ."""
    least = 2 / 2 ** len(prompts) * (rows * (rows - 1) // 2)
    if least < LEVEL:
        return ""
    return f"{len(prompts)} prompts cannot tell {rows} rows apart at 5%: take more prompts"
