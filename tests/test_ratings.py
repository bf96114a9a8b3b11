"""Shares, agreement and preference, against published and brute-force values: pytest tests/test_ratings.py"""

import itertools
import math

import numpy as np
import pytest

from sdstudio.metrics.statistics import holm, sign_flip_test
from sdstudio.ratings.agreement import cohen_kappa, fleiss_kappa
from sdstudio.ratings.preference import PRIOR, Duel, bradley_terry
from sdstudio.ratings.proportion import wilson


def test_wilson_of_8_in_100() -> None:
    assert wilson(8, 100) == pytest.approx((0.041093, 0.149981), abs=1e-6)


def test_wilson_stays_within_0_and_1_and_knows_nothing_of_nothing() -> None:
    assert wilson(0, 10) == pytest.approx((0, 0.277533), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((0.722467, 1), abs=1e-6)
    assert wilson(0, 0) is None


def test_wilson_covers() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(4000):
        low, high = wilson(int(rng.binomial(60, 0.1)), 60)
        hits += low <= 0.1 <= high
    assert 0.93 <= hits / 4000 <= 0.97


def test_cohen_of_20_5_10_15() -> None:
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohen_kappa(pairs) == pytest.approx(0.4)


def test_cohen_of_full_agreement_chance_and_nothing() -> None:
    assert cohen_kappa([("a", "a"), ("b", "b")]) == 1
    assert cohen_kappa([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]) == pytest.approx(0)
    assert cohen_kappa([("a", "a")] * 3) is None and cohen_kappa([]) is None


def test_fleiss_of_the_textbook_table() -> None:
    """14 raters, 10 subjects, 5 categories; Fleiss 1971's kind of table, κ = 0.210 in many textbooks."""
    table = [
        (0, 0, 0, 0, 14),
        (0, 2, 6, 4, 2),
        (0, 0, 3, 5, 6),
        (0, 3, 9, 2, 0),
        (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0),
        (3, 2, 6, 3, 0),
        (2, 5, 3, 2, 2),
        (6, 5, 2, 1, 0),
        (0, 2, 2, 3, 7),
    ]
    answers = [[str(place) for place, times in enumerate(row) for _ in range(times)] for row in table]
    assert fleiss_kappa(answers) == pytest.approx(0.20993, abs=1e-5)


def test_fleiss_passes_over_pictures_with_one_rater() -> None:
    answers = [["a", "a"], ["b", "b"], ["a", "b"]]
    assert fleiss_kappa([*answers, ["b"]]) == fleiss_kappa(answers) == pytest.approx(1 / 3)
    assert fleiss_kappa([["a"]]) is None


def duels(first: str, second: str, won: int, lost: int, tied: int = 0) -> list[Duel]:
    winners = [first] * won + [second] * lost + [""] * tied
    return [Duel(first=first, second=second, winner=winner) for winner in winners]


def test_two_models_differ_by_the_log_odds_with_the_prior() -> None:
    """With many duels the prior's pull is small, and the scores are symmetric around zero."""
    found = bradley_terry(duels("a", "b", 3000, 1000))
    assert list(found) == ["a", "b"]
    assert found["a"].score - found["b"].score == pytest.approx(math.log(3), abs=2e-3)
    assert found["a"].score == pytest.approx(-found["b"].score)
    assert (found["a"].wins, found["a"].duels) == (3000, 4000)


def test_strengths_maximise_the_likelihood() -> None:
    played = duels("a", "b", 7, 3) + duels("b", "c", 6, 4, tied=2) + duels("a", "c", 9, 1)
    found = bradley_terry(played)

    def likelihood(scores: dict[str, float]) -> float:
        def beats(own: float, other: float) -> float:
            return -math.log1p(math.exp(other - own))

        total = sum(PRIOR * (beats(score, 0) + beats(0, score)) for score in scores.values())
        for duel in played:
            first, second = scores[duel.first], scores[duel.second]
            for own, other, name in ((first, second, duel.first), (second, first, duel.second)):
                total += (0.5 if not duel.winner else float(duel.winner == name)) * beats(own, other)
        return total

    best = {name: strength.score for name, strength in found.items()}
    for name, shift in itertools.product(best, (-0.01, 0.01)):
        assert likelihood({**best, name: best[name] + shift}) < likelihood(best)


def test_a_model_that_never_lost_stays_finite_with_a_wide_interval() -> None:
    found = bradley_terry(duels("a", "b", 4, 0))
    low, high = found["a"].interval
    assert math.isfinite(found["a"].score) and low < 0 < high


def test_ties_alone_make_equals() -> None:
    found = bradley_terry(duels("a", "b", 0, 0, tied=5))
    assert found["a"].score == pytest.approx(0, abs=1e-9)
    assert bradley_terry([]) == {}


def test_holm_adjusts_in_order_and_never_falls() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0} and holm({}) == {}


def test_sign_flips_are_exact_for_few() -> None:
    assert sign_flip_test([1, 2, 3]) == pytest.approx(2 / 8)
    assert sign_flip_test([1, -1]) == 1
    assert sign_flip_test([0.5]) is None


def test_sign_flips_reject_5_percent_of_nothing() -> None:
    rng = np.random.default_rng(0)
    for size in (10, 25):
        found = [sign_flip_test(rng.normal(size=size).tolist(), rounds=499, seed=n) for n in range(800)]
        assert 0.03 <= np.mean([value <= 0.05 for value in found]) <= 0.07
