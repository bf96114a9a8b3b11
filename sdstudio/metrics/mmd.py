"""The unbiased maximum mean discrepancy (MMD²) under any kernel, and its standard error.

Gretton et al. 2012, A Kernel Two-Sample Test, JMLR 13, equation 3. Two pictures of one prompt count as a pair like any
other, as in the published estimators; since they resemble each other, that raises its expectation, which a flag says.
The interval knows prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sdstudio.metrics.sample import NO_INTERVAL, Array, Measured
from sdstudio.metrics.statistics import CONFIDENCE, t_quantile
from sdstudio.words import count

Kernel = Callable[[Array, Array], Array]
"""k(x, y) for every pair: (N₁, D), (N₂, D) → (N₁, N₂)."""
_ROWS = 256


@dataclass(frozen=True)
class _Sums:
    """Kernel sums over one set, and over the pairs of both sets, after some of the first set was left out."""

    n: int
    within: float
    across: float


def distance_and_error(
    kernel: Kernel, first: Array, second: Array, groups: Sequence[str] | None = None
) -> tuple[float, float, float]:
    """Unbiased MMD² of features (N₁, D) and (N₂, D), its standard error, and the error's degrees of freedom.

    N ≥ 2 each and not necessarily equal; the distance can be below zero. The error is the two-sample jackknife of the
    very estimator: one group of `first` (the pictures of one prompt; each picture alone when None) or one picture of
    `second` is left out in turn, and the two sides' variances are added with Welch–Satterthwaite degrees of freedom.
    By Efron and Stein 1981 its expectation is not below the variance. The error is NaN where a side has fewer than two
    groups or leaving one out leaves fewer than two pictures.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    names = np.array([str(index) for index in range(len(first))] if groups is None else list(groups))
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(names)]
    alone = [np.array([index]) for index in range(len(second))]
    whole_first, left_first = _sums(kernel, first, second, members)
    whole_second, left_second = _sums(kernel, second, first, alone)
    value = _distance(whole_first, whole_second)
    if min(len(members), len(alone)) < 2 or min(left.n for left in left_first + left_second) < 2:
        return value, float("nan"), float("nan")
    variances = [
        _jackknife_variance([_distance(left, whole_second) for left in left_first]),
        _jackknife_variance([_distance(left, whole_first) for left in left_second]),
    ]
    degrees = [len(members) - 1, len(alone) - 1]
    total = sum(variances)
    spread = sum(variance**2 / free for variance, free in zip(variances, degrees, strict=True))
    return value, total**0.5, total**2 / spread if spread > 0 else float(sum(degrees))


def measured(kernel: Kernel, first: Array, second: Array, prompts: Sequence[str]) -> Measured:
    """The distance with its jackknife t-interval, which takes prompts, not pictures, as independent."""
    value, error, degrees = distance_and_error(kernel, first, second, prompts)
    several = len(set(prompts))
    flags: tuple[str, ...] = ()
    if several < len(first):
        flags = (
            f"{len(first)} pictures of {count(several, 'prompt')}: those of one prompt resemble each other, which "
            "raises the distance; what counts as N is the prompts",
        )
    if not np.isfinite(error):
        return Measured(value=value, flags=(f"{NO_INTERVAL}: too few prompts or pictures", *flags))
    half = t_quantile((1 + CONFIDENCE) / 2, degrees) * error
    return Measured(value=value, interval=(value - half, value + half), flags=flags)


def _sums(kernel: Kernel, own: Array, other: Array, groups: list[np.ndarray]) -> tuple[_Sums, list[_Sums]]:
    """The sums of a whole set, and those without each group; in blocks of rows, so that memory stays bounded."""
    blocks = [own[start : start + _ROWS] for start in range(0, len(own), _ROWS)]
    diagonal = np.concatenate([np.diagonal(kernel(block, block)) for block in blocks])
    within = np.concatenate([kernel(block, own).sum(1) for block in blocks]) - diagonal
    across = np.concatenate([kernel(block, other).sum(1) for block in blocks])
    whole = _Sums(len(own), float(within.sum()), float(across.sum()))

    def without(group: np.ndarray) -> _Sums:
        inside = kernel(own[group], own[group])
        pairs = 2 * float(within[group].sum()) - float(inside.sum() - np.trace(inside))
        return _Sums(whole.n - len(group), whole.within - pairs, whole.across - float(across[group].sum()))

    return whole, [without(group) for group in groups]


def _distance(one: _Sums, other: _Sums) -> float:
    """MMD² from kernel sums; the pairs of both sets are counted by `one`, from which some may be left out."""
    within = sum(sums.within / (sums.n * (sums.n - 1)) if sums.n > 1 else np.nan for sums in (one, other))
    return within - 2 * one.across / (one.n * other.n)


def _jackknife_variance(values: list[float]) -> float:
    """(G−1)/G · Σ (θ₍g₎ − mean)²."""
    return (len(values) - 1) * float(np.var(values))
