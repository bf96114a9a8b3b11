"""Values that anyone can check by hand, one line each: pytest tests/test_metrics_values.py"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdstudio.metrics import cmmd, kid
from sdstudio.metrics.fid import frechet_distance
from sdstudio.metrics.mmd import distance_and_error
from sdstudio.metrics.neighbours import balls_hit, nearest, radii
from sdstudio.metrics.perceptual import lpips_between
from sdstudio.metrics.resemblance import cosines
from sdstudio.metrics.statistics import compare, holm, sign_flip_test, t_interval
from sdstudio.metrics.vendi import vendi_score
from sdstudio.ratings.agreement import cohen_kappa, fleiss_kappa
from sdstudio.ratings.proportion import wilson

ROOT2, ROOT3 = math.sqrt(2), math.sqrt(3)


def column(*values: float) -> np.ndarray:
    return np.array(values, float)[:, None]


def with_covariance(*variances: float) -> np.ndarray:
    """Points around zero whose sample covariance is exactly diagonal: ± along each axis."""
    count = 2 * len(variances)
    points = [sign * math.sqrt(variance * (count - 1) / 2) for variance in variances for sign in (1, -1)]
    return np.array([np.eye(len(variances))[place // 2] * point for place, point in enumerate(points)])


def rotated(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    return points @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


GOLDEN = 0.7712204476543416  # N(0, [[2, 1], [1, 2]]) against N(0, diag(1, 4)): 9 − 2√(10 + 2√12)
FID = [
    ("field notes: {0, 2} and {1, 7}", column(0, 2), column(1, 7), 17),
    ("means alone: all at 0, all at 3", column(0, 0), column(3, 3), 9),
    ("spreads alone: σ = √2 and 3√2", column(-1, 1), column(-3, 3), (3 * ROOT2 - ROOT2) ** 2),
    ("a spread against none", column(-1, 1), column(0, 0, 0), 2),
    ("a set with itself", column(1, 4, 9), column(1, 4, 9), 0),
    ("in another order and twice", column(1, -1), column(-1, 1), 0),
    ("unequal N, equal moments", column(-1, 1), column(-ROOT2, 0, ROOT2), 0),
    ("diagonal: (√1 − √4)² + (√4 − √9)²", with_covariance(1, 4), with_covariance(4, 9), 2),
    ("three dimensions: 3 (2 − 1)²", with_covariance(1, 1, 1), with_covariance(4, 4, 4), 3),
    ("diagonal with a shift of (3, 4)", with_covariance(1, 1), np.add(with_covariance(1, 1), [3, 4]), 25),
    ("supports at right angles: both traces", np.array([[1.0, 0], [-1, 0]]), np.array([[0.0, 1], [0, -1]]), 4),
    ("turned by 90°: 2 (√4 − √1)²", with_covariance(1, 4), rotated(with_covariance(1, 4), 90), 2),
    ("turned by 45°, golden", rotated(with_covariance(1, 3), 45), with_covariance(1, 4), GOLDEN),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "expected"), [row[1:] for row in FID], ids=[row[0] for row in FID])
def test_fid(one: np.ndarray, other: np.ndarray, expected: float) -> None:
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def along(*values: float, dimensions: int) -> np.ndarray:
    return np.array([[value] + [0] * (dimensions - 1) for value in values], float)


KID = [
    ("field notes: 0 and (2, 0, 0, 0)", along(0, 0, dimensions=4), along(2, 2, dimensions=4), 7),
    ("0 and 1: (1 + 1)³ + 1 − 2", column(0, 0), column(1, 1), 7),
    ("0 and 2: (4 + 1)³ + 1 − 2", column(0, 0), column(2, 2), 124),
    ("1 and −1: 8 + 8 − 2 · 0", column(1, 1), column(-1, -1), 16),
    ("2 and −1: 125 + 8 + 2", column(2, 2), column(-1, -1), 135),
    ("all alike", column(1, 1), column(1, 1, 1), 0),
    ("a set of two with itself is below zero: 2 − 2 · 32", column(0, 2), column(0, 2), -62),
    ("0 and (1, 1): k scales with the dimensions", np.zeros((2, 2)), np.ones((2, 2)), 7),
    ("at right angles, length √2 in two dimensions", ROOT2 * np.eye(2)[[0, 0]], ROOT2 * np.eye(2)[[1, 1]], 14),
]


@pytest.mark.parametrize(("one", "other", "expected"), [row[1:] for row in KID], ids=[row[0] for row in KID])
def test_kid(one: np.ndarray, other: np.ndarray, expected: float) -> None:
    assert distance_and_error(kid.kernel, one, other)[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


CMMD = [
    ("all alike", column(1, 1), column(1, 1), 0.0),
    ("at right angles: 2000 (1 − e^−0.01)", np.eye(2)[[0, 0]], np.eye(2)[[1, 1]], 2000 * (1 - math.exp(-0.01))),
    ("opposite: 2000 (1 − e^−0.02)", column(1, 1), column(-1, -1), 2000 * (1 - math.exp(-0.02))),
    ("one pair of each, apart as the sets", np.eye(2), np.eye(2), 1000 * (math.exp(-0.01) - 1)),
]


@pytest.mark.parametrize(("one", "other", "expected"), [row[1:] for row in CMMD], ids=[row[0] for row in CMMD])
def test_cmmd(one: np.ndarray, other: np.ndarray, expected: float) -> None:
    assert distance_and_error(cmmd.kernel, one, other)[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


NEIGHBOURS = [
    ("nearest other of 0, 1, 3", radii(column(0, 1, 3), 1), [1, 1, 2]),
    ("second other of 0, 1, 3, 7", radii(column(0, 1, 3, 7), 2), [3, 2, 3, 6]),
    ("doubles lie at distance 0", radii(column(5, 5, 9), 1), [0, 0, 4]),
    ("a 3-4-5 triangle", nearest(np.array([[0.0, 0]]), np.array([[3.0, 4], [6, 8]])), [5]),
    ("balls reach their rim", balls_hit(column(0, 10), np.array([2.0, 3.0]), column(2, 2.001, 7)), [1, 0, 1]),
    ("a point in every ball", balls_hit(column(0, 1, 2), np.full(3, 5.0), column(1)), [3]),
]


@pytest.mark.parametrize(("found", "expected"), [row[1:] for row in NEIGHBOURS], ids=[row[0] for row in NEIGHBOURS])
def test_neighbours(found: np.ndarray, expected: list[float]) -> None:
    assert found.tolist() == expected


PAIRS = [
    ("φ at right angles", lpips_between(np.eye(2)[:1], np.eye(2)[1:]), 2),
    ("φ and itself", lpips_between(np.eye(2)[:1], np.eye(2)[:1]), 0),
    ("φ 3 and 4 away", lpips_between(np.array([[0.0, 0]]), np.array([[3.0, 4]])), 25),
    ("same direction, other length", cosines(np.array([[1.0, 1]]), np.array([[5.0, 5]])), 1),
    ("right angle", cosines(np.array([[1.0, 0]]), np.array([[0.0, 2]])), 0),
    ("opposite", cosines(np.array([[1.0, 2]]), np.array([[-2.0, -4]])), -1),
    ("60 degrees", cosines(np.array([[1.0, 0]]), np.array([[1, ROOT3]])), 0.5),
]


@pytest.mark.parametrize(("found", "expected"), [row[1:] for row in PAIRS], ids=[row[0] for row in PAIRS])
def test_pairs_of_pictures(found: np.ndarray, expected: float) -> None:
    assert found.item() == pytest.approx(expected, abs=1e-12)


VENDI = [
    ("all alike", np.tile([1.0, 0], (7, 1)), 1),
    ("none alike", np.eye(5), 5),
    ("two kinds, half each", np.repeat(np.eye(2), [4, 4], axis=0), 2),
    ("two kinds, 9 to 1: e^entropy", np.repeat(np.eye(2), [9, 1], axis=0), 0.9**-0.9 * 0.1**-0.1),
    ("two at 60 degrees: λ = ¾ and ¼", np.array([[1, 0], [0.5, ROOT3 / 2]]), 0.75**-0.75 * 0.25**-0.25),
    ("opposites are one kind", np.array([[1.0, 0], [-1, 0]]), 1),
]


@pytest.mark.parametrize(("rows", "expected"), [row[1:] for row in VENDI], ids=[row[0] for row in VENDI])
def test_vendi(rows: np.ndarray, expected: float) -> None:
    assert vendi_score(rows) == pytest.approx(expected, rel=1e-9)


T95 = 4.302652730
STATISTICS: list[tuple[str, Callable[[], object], object]] = [
    ("Wilson 8 of 100, field notes", lambda: wilson(8, 100), (0.041093, 0.149981)),
    ("Wilson 0 of 10: z² / (n + z²)", lambda: wilson(0, 10), (0, 0.277533)),
    ("Wilson 10 of 10", lambda: wilson(10, 10), (0.722467, 1)),
    ("Wilson 5 of 10", lambda: wilson(5, 10), (0.236593, 0.763407)),
    ("t over 1, 2, 3", lambda: t_interval([1, 2, 3]), (2 - T95 / ROOT3, 2 + T95 / ROOT3)),
    ("t over 4, 4, 4", lambda: t_interval([4, 4, 4]), (4, 4)),
    ("Cohen 20/5/10/15, field notes", lambda: cohen_kappa(table(20, 5, 10, 15)), 0.4),
    ("Cohen, all agree", lambda: cohen_kappa(table(6, 0, 0, 4)), 1),
    ("Cohen, as by chance", lambda: cohen_kappa(table(5, 5, 5, 5)), 0),
    ("Cohen, never agree", lambda: cohen_kappa(table(0, 5, 5, 0)), -1),
    ("Fleiss, all agree", lambda: fleiss_kappa([["y"] * 3, ["n"] * 3]), 1),
    ("Fleiss, two raters at odds", lambda: fleiss_kappa([["y", "n"], ["n", "y"]]), -1),
    ("Holm 0.01, 0.04, 0.03, 0.005", lambda: adjusted(0.01, 0.04, 0.03, 0.005), [0.03, 0.06, 0.06, 0.02]),
    ("Holm of one", lambda: adjusted(0.2), [0.2]),
    ("Holm never passes 1", lambda: adjusted(0.6, 0.9), [1, 1]),
    ("five gains: 2 / 2⁵", lambda: sign_flip_test([1, 2, 1, 3, 1]), 1 / 16),
    ("a gain and a loss alike", lambda: sign_flip_test([1, -1]), 1),
    ("1, 1, −1: 6 of 8 as far", lambda: sign_flip_test([1, 1, -1]), 1),
    ("3, 3, −1: |5| in 4 of 8", lambda: sign_flip_test([3, 3, -1]), 0.5),
    ("paired change and ratio", lambda: paired({"a": 3, "b": 5}, {"a": 1, "b": 3}), (2, 2)),
]  # fmt: skip


def adjusted(*p_values: float) -> list[float]:
    return list(holm({str(place): value for place, value in enumerate(p_values)}).values())


def table(yes: int, first: int, second: int, no: int) -> list[tuple[str, str]]:
    return [("y", "y")] * yes + [("y", "n")] * first + [("n", "y")] * second + [("n", "n")] * no


def paired(model: dict[str, float], base: dict[str, float]) -> tuple[float, float | None]:
    found = compare(model, base)
    assert found
    return found.difference, found.ratio


@pytest.mark.parametrize(("found", "expected"), [row[1:] for row in STATISTICS], ids=[row[0] for row in STATISTICS])
def test_statistics(found: Callable[[], object], expected: object) -> None:
    assert found() == pytest.approx(expected, abs=1e-6)


# ---------------------------------------------------------------- what holds for every input

NUMBERS = st.floats(-10, 10, width=32)
SETS = st.integers(2, 6).flatmap(lambda count: arrays(np.float64, (count, 3), elements=NUMBERS))
UNIT = SETS.filter(lambda rows: bool((np.linalg.norm(rows, axis=1) > 1e-3).all()))


@settings(max_examples=25, deadline=None)
@given(SETS, SETS, st.floats(0.125, 8), st.integers(0, 2**31))
def test_fid_does_not_know_how_the_space_lies(one: np.ndarray, other: np.ndarray, scale: float, seed: int) -> None:
    """A turn and a common shift change nothing; a common scale c multiplies it by c²."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    before = frechet_distance(one, other)
    assert frechet_distance(one @ turn + 5, other @ turn + 5) == pytest.approx(before, rel=1e-6, abs=1e-6)
    assert frechet_distance(scale * one, scale * other) == pytest.approx(scale**2 * before, rel=1e-6, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(SETS, st.integers(2, 4))
def test_fid_of_a_set_repeated_comes_near_that_of_the_set(one: np.ndarray, times: int) -> None:
    """Only the factor n / (n − 1) of the covariance is left."""
    count = len(one)
    factor = math.sqrt(count / (count - 1)) - math.sqrt(count * times / (count * times - 1))
    spread = float(np.trace(np.atleast_2d(np.cov(one.T, bias=True))))
    assert frechet_distance(one, np.tile(one, (times, 1))) == pytest.approx(factor**2 * spread, rel=1e-6, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(UNIT, UNIT, st.randoms())
def test_pairs_are_symmetric_and_follow_their_pictures(one: np.ndarray, other: np.ndarray, random: object) -> None:
    order = list(range(len(one)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for between in (lpips_between, cosines):
        assert between(one, other) == pytest.approx(between(other, one).T, abs=1e-9)
        assert between(one[order], other) == pytest.approx(between(one, other)[order], abs=1e-9)
    assert (lpips_between(one, other) >= 0).all() and np.diagonal(lpips_between(one, one)) == pytest.approx(0, abs=1e-9)
    assert (np.abs(cosines(one, other)) <= 1 + 1e-9).all() and np.diagonal(cosines(one, one)) == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(UNIT, st.randoms())
def test_vendi_counts_between_one_and_all_and_not_the_same_twice(rows: np.ndarray, random: object) -> None:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    order = list(range(len(unit)))
    random.shuffle(order)  # type: ignore[attr-defined]
    score = vendi_score(unit)
    assert 1 - 1e-9 <= score <= min(len(unit), 3) + 1e-9
    assert vendi_score(unit[order]) == pytest.approx(score) == pytest.approx(vendi_score(np.tile(unit, (2, 1))))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.floats(-3, 3), st.floats(0.5, 4))
def test_intervals_move_and_stretch_with_their_numbers(values: list[float], shift: float, scale: float) -> None:
    low, high = t_interval(values) or (0, 0)
    moved = t_interval([scale * value + shift for value in values])
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-6)
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9
