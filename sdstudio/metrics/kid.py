"""Kernel distance between two sets of features: the unbiased MMD² with a cubic polynomial kernel.

Bińkowski et al. 2018, arXiv:1801.01401. Unbiased at every N, so it can be read where FID cannot.
Two pictures of one prompt count as a pair like any other, as in the published estimator; since they resemble each
other, that raises its expectation, which a flag says. The interval knows prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdstudio.metrics.sample import NO_INTERVAL, Array, Interval, Pictures, Sample, against_reference
from sdstudio.metrics.statistics import CONFIDENCE, t_quantile
from sdstudio.schema import Metric, MetricResult
from sdstudio.words import count

_ROWS = 1024


def kernel(first: Array, second: Array) -> Array:
    """k(x, y) = (x·y / D + 1)³ for every pair: (N₁, D), (N₂, D) → (N₁, N₂)."""
    return np.asarray((first @ second.T / first.shape[1] + 1) ** 3, np.float64)


@dataclass(frozen=True)
class _Sums:
    """Kernel sums over one set, and over the pairs of both sets, after some of the first set was left out."""

    n: int
    within: float
    across: float


def kernel_distance(first: Array, second: Array) -> float:
    """Unbiased MMD² of features (N₁, D) and (N₂, D), N ≥ 2 each and not necessarily equal; can be below zero."""
    return kernel_distance_and_error(first, second)[0]


def kernel_distance_and_error(
    first: Array, second: Array, groups: Sequence[str] | None = None
) -> tuple[float, float, float]:
    """Unbiased MMD², its standard error, and the error's degrees of freedom.

    The error is the two-sample jackknife of the very estimator: one group of `first` (the pictures of one prompt; each
    picture alone when None) or one picture of `second` is left out in turn, and the two sides' variances are added
    with Welch–Satterthwaite degrees of freedom. By Efron and Stein 1981 its expectation is not below the variance.
    The error is NaN where a side has fewer than two groups or leaving one out leaves fewer than two pictures.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    names = np.array([str(index) for index in range(len(first))] if groups is None else list(groups))
    members = [np.flatnonzero(names == name) for name in dict.fromkeys(names)]
    alone = [np.array([index]) for index in range(len(second))]
    rows_first, across_first = _row_sums(first, first, skip_diagonal=True), _row_sums(first, second)
    rows_second, across_second = _row_sums(second, second, skip_diagonal=True), _row_sums(second, first)
    whole_first = _Sums(len(first), float(rows_first.sum()), float(across_first.sum()))
    whole_second = _Sums(len(second), float(rows_second.sum()), float(across_second.sum()))
    left_first = [_leave_out(whole_first, first, rows_first, across_first, group) for group in members]
    left_second = [_leave_out(whole_second, second, rows_second, across_second, group) for group in alone]
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


def _row_sums(first: Array, second: Array, *, skip_diagonal: bool = False) -> Array:
    """Σ_y k(x, y) for every x, in blocks of rows, so that memory stays bounded."""
    blocks = [kernel(first[start : start + _ROWS], second).sum(1) for start in range(0, len(first), _ROWS)]
    diagonal = (np.sum(first**2, 1) / first.shape[1] + 1) ** 3 if skip_diagonal else 0.0
    return np.asarray(np.concatenate(blocks) - diagonal, np.float64)


def _leave_out(whole: _Sums, features: Array, rows: Array, across: Array, group: np.ndarray) -> _Sums:
    inside = kernel(features[group], features[group])
    return _Sums(
        whole.n - len(group),
        whole.within - 2 * float(rows[group].sum()) + float(inside.sum() - np.trace(inside)),
        whole.across - float(across[group].sum()),
    )


def _distance(one: _Sums, other: _Sums) -> float:
    """MMD² from kernel sums; the pairs of both sets are counted by `one`, from which some may be left out."""
    within = sum(sums.within / (sums.n * (sums.n - 1)) if sums.n > 1 else np.nan for sums in (one, other))
    return within - 2 * one.across / (one.n * other.n)


def _jackknife_variance(values: list[float]) -> float:
    """(G−1)/G · Σ (θ₍g₎ − mean)²."""
    return (len(values) - 1) * float(np.var(values))


def compute(sample: Sample) -> MetricResult:
    """KID to the reference with a jackknife t-interval that takes prompts, not pictures, as independent."""
    return against_reference("kid", sample, _measure)


def _measure(generated: Pictures, reference: Pictures) -> tuple[float, Interval | None, tuple[str, ...]]:
    value, error, degrees = kernel_distance_and_error(generated.pooled, reference.pooled, generated.groups)
    prompts = len(set(generated.groups))
    flags: tuple[str, ...] = ()
    if prompts < len(generated):
        flags = (
            f"{len(generated)} pictures of {count(prompts, 'prompt')}: those of one prompt resemble each other, which "
            "raises KID; what counts as N is the prompts",
        )
    if not np.isfinite(error):
        return value, None, (f"{NO_INTERVAL}: too few prompts or pictures", *flags)
    half = t_quantile((1 + CONFIDENCE) / 2, degrees) * error
    return value, (value - half, value + half), flags


RECORD = Metric(
    name="kid",
    label="KID",
    summary="Kernel distance between the features of the generated and the reference pictures; unbiased at any N.",
    paper="Bińkowski et al. 2018, Demystifying MMD GANs, arXiv:1801.01401",
    better="lower",
    needs=("prompts", "reference"),
    compute=compute,
)
