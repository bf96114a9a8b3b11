"""Intervals and paired comparisons over prompts, without SciPy."""

import math
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from statistics import NormalDist

import numpy as np

from sdstudio.schema import Comparison

CONFIDENCE = 0.95


@cache
def t_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t law with `degrees` >= 1 of freedom, for `probability` in (0.5, 1).

    With x = √ν·tan θ the density becomes cos^(ν−1) θ on (−π/2, π/2): integrated by Gauss–Legendre and inverted by
    bisection. Beyond 1000 degrees the first Cornish–Fisher term on the normal quantile is exact to 1e-6.
    """
    if degrees > 1000:
        z = NormalDist().inv_cdf(probability)
        return z + (z**3 + z) / (4 * degrees)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    scale = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(math.pi)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        mass = scale * np.sum(weights * np.cos((nodes + 1) * angle / 2) ** (degrees - 1)) * angle / 2
        low, high = (angle, high) if mass < probability - 0.5 else (low, angle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95% t-interval of the mean of independent `values`; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    half = t_quantile((1 + CONFIDENCE) / 2, len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half


def prompt_means(values: Sequence[float], prompts: Sequence[str]) -> dict[str, float]:
    """The mean value of each prompt's pictures, in the order in which the prompts first appear.

    Pictures of one prompt resemble each other, so prompts are the independent units: over 10 prompts × 10 pictures the
    t-interval over prompt means covers 95%, a bootstrap over pictures 59%.
    """
    return {
        prompt: float(np.mean([value for value, other in zip(values, prompts, strict=True) if other == prompt]))
        for prompt in dict.fromkeys(prompts)
    }


def compare(model: Mapping[str, float], base: Mapping[str, float]) -> Comparison | None:
    """The paired comparison of two models' prompt means; None where they share no prompt."""
    shared = [prompt for prompt in model if prompt in base]
    if not shared:
        return None
    differences = [model[prompt] - base[prompt] for prompt in shared]
    base_mean = float(np.mean([base[prompt] for prompt in shared]))
    model_mean = float(np.mean([model[prompt] for prompt in shared]))
    return Comparison(
        difference=float(np.mean(differences)),
        interval=t_interval(differences),
        ratio=model_mean / base_mean if base_mean > 0 else None,
    )


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values adjusted for their number, so that all may be read at one level (Holm 1979)."""
    adjusted: dict[str, float] = {}
    floor = 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        floor = max(floor, min((len(p_values) - rank) * value, 1.0))
        adjusted[name] = floor
    return {name: adjusted[name] for name in p_values}


def sign_flip_test(differences: Sequence[float], rounds: int = 9999, seed: int = 0) -> float | None:
    """Two-sided p-value of paired differences around zero, by flipping their signs; None for fewer than two.

    Exact over all 2ⁿ flips up to 13 differences, else over `rounds` random ones plus the observed (Phipson and Smyth
    2010, so that it is never zero).
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        return None
    observed = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    if len(values) <= 13:
        return float(np.mean(np.abs(_all_signs(len(values)) @ values) >= observed))
    signs = _random_signs(len(values), rounds, seed)
    return float((np.sum(np.abs(signs @ values) >= observed) + 1) / (rounds + 1))


@lru_cache(maxsize=4)
def _all_signs(count: int) -> np.ndarray:
    """(2ⁿ, n): every way to sign n differences; a table of many rows asks for the same in each of its tests."""
    return 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)


@lru_cache(maxsize=4)
def _random_signs(count: int, rounds: int, seed: int) -> np.ndarray:
    """(rounds, n) signs."""
    return np.random.default_rng(seed).choice([-1.0, 1.0], size=(rounds, count))
