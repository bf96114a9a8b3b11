"""Metrics against known values, against brute force, and against what must hold for every input."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdstudio import registry
from sdstudio.metrics import clip_score, fid, kid, language_drift, mmd
from sdstudio.metrics.fid import frechet_distance
from sdstudio.metrics.kid import kernel
from sdstudio.metrics.mmd import distance_and_error
from sdstudio.metrics.sample import EXPLORATORY, REFUSED, Pictures, Sample
from sdstudio.metrics.statistics import compare, prompt_means, t_interval, t_quantile

RNG = np.random.default_rng(0)
NUMBERS = st.floats(-10, 10, width=32)
SETS = st.integers(2, 6).flatmap(lambda n: arrays(np.float64, (n, 3), elements=NUMBERS))


def pictures(features, groups=None, **changes):
    features = np.asarray(features, np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    names = tuple(str(index) for index in range(len(features)))
    given = Pictures(pooled=features, image=unit, text=unit, groups=groups or names, source="PNG 64×64")
    return replace(given, **changes)


def sample(generated, reference=None, drift=None):
    return Sample(model="m", generated=generated, reference=reference, drift=drift, extractor="e", preprocessing="p")


def points_with_covariance(covariance, rng):
    """Centred points whose sample covariance is exactly the given one."""
    raw = rng.normal(size=(40, len(covariance)))
    raw -= raw.mean(0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
    return white @ np.linalg.cholesky(np.asarray(covariance, float)).T


# ---------------------------------------------------------------- Fréchet distance


def test_fid_of_two_pairs_of_numbers() -> None:
    assert frechet_distance([[0.0], [2.0]], [[1.0], [7.0]]) == pytest.approx(17, rel=1e-12)


def test_fid_of_two_known_gaussians() -> None:
    first = points_with_covariance([[2, 1], [1, 2]], RNG)
    second = points_with_covariance([[1, 0], [0, 4]], RNG)
    assert frechet_distance(first, second) == pytest.approx(9 - 2 * math.sqrt(10 + 2 * math.sqrt(12)), rel=1e-9)
    assert frechet_distance(first, second) == pytest.approx(0.7712204476543416, rel=1e-9)


@pytest.mark.parametrize(("first", "second", "dimensions"), [(7, 9, 4), (5, 6, 20), (40, 6, 10)])
def test_fid_is_the_textbook_formula_below_and_above_full_rank(first, second, dimensions) -> None:
    one, other = RNG.normal(size=(first, dimensions)), RNG.normal(1, 2, size=(second, dimensions))
    product = np.cov(one.T) @ np.cov(other.T)
    root_trace = np.sqrt(np.abs(np.linalg.eigvals(product))).sum()
    shift = one.mean(0) - other.mean(0)
    expected = shift @ shift + np.trace(np.cov(one.T)) + np.trace(np.cov(other.T)) - 2 * root_trace
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(SETS, SETS)
def test_fid_is_symmetric_and_not_negative(one, other) -> None:
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), abs=1e-6)
    assert frechet_distance(one, other) >= 0


@settings(max_examples=40, deadline=None)
@given(SETS, arrays(np.float64, 3, elements=NUMBERS))
def test_a_shift_of_the_mean_adds_its_square_to_fid(one, shift) -> None:
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(one, one + shift) == pytest.approx(shift @ shift, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(SETS, SETS, st.randoms())
def test_the_order_of_pictures_does_not_matter(one, other, random) -> None:
    order = list(range(len(one)))
    random.shuffle(order)
    assert frechet_distance(one[order], other) == pytest.approx(frechet_distance(one, other), abs=1e-6)
    assert kernel_distance(one[order], other) == pytest.approx(kernel_distance(one, other), rel=1e-9, abs=1e-6)


def test_fid_of_few_pictures_is_exploratory_and_has_no_interval() -> None:
    few = fid.compute(sample(pictures(RNG.normal(size=(4, 4))), pictures(RNG.normal(size=(30, 4)))))
    enough = fid.compute(sample(pictures(RNG.normal(size=(5, 4))), pictures(RNG.normal(size=(5, 4)))))
    assert few.value is not None and few.flags[0].startswith(EXPLORATORY) and few.interval is None
    assert enough.flags == () and enough.interval is None
    assert (few.n_generated, few.n_reference, few.extractor, few.preprocessing) == (4, 30, "e", "p")


# ---------------------------------------------------------------- kernel distance


def kernel_distance(one, other):
    return distance_and_error(kernel, one, other)[0]


def brute_force(one, other):
    within = [
        np.mean(
            [kernel(rows[i : i + 1], rows[j : j + 1]) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        )
        for rows in (one, other)
    ]
    return sum(within) - 2 * kernel(one, other).mean()


@pytest.mark.parametrize(("zeros", "others"), [(2, 2), (3, 2), (2, 5)])
def test_kid_of_zeros_against_a_known_vector_is_7_at_every_n(zeros, others) -> None:
    one, other = np.zeros((zeros, 4)), np.tile([2.0, 0, 0, 0], (others, 1))
    assert kernel_distance(one, other) == pytest.approx(7, rel=1e-12)


def test_kid_is_the_mean_over_all_pairs_for_unequal_n() -> None:
    one, other = RNG.normal(size=(5, 3)), RNG.normal(1, 1, size=(9, 3))
    assert kernel_distance(one, other) == pytest.approx(brute_force(one, other), rel=1e-12)


def test_kid_in_blocks_of_rows_is_the_same(monkeypatch) -> None:
    one, other = RNG.normal(size=(7, 3)), RNG.normal(size=(11, 3))
    whole = distance_and_error(kernel, one, other)
    monkeypatch.setattr(mmd, "_ROWS", 2)
    assert distance_and_error(kernel, one, other) == pytest.approx(whole, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(SETS, SETS)
def test_kid_is_symmetric(one, other) -> None:
    assert kernel_distance(one, other) == pytest.approx(kernel_distance(other, one), rel=1e-9, abs=1e-6)


def test_kid_of_a_set_with_itself_is_below_that_with_any_shifted_one() -> None:
    one = RNG.normal(size=(20, 4))
    assert kernel_distance(one, one) < kernel_distance(one, one + 1) < kernel_distance(one, one + 2)


def test_kid_is_unbiased() -> None:
    same = [kernel_distance(RNG.normal(size=(5, 3)), RNG.normal(size=(8, 3))) for _ in range(2000)]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(len(same))


def test_kid_error_is_the_jackknife_of_the_whole_estimator() -> None:
    one, other = RNG.normal(size=(6, 3)), RNG.normal(1, 1, size=(5, 3))
    groups = ["a", "a", "b", "b", "c", "c"]
    left_one = [brute_force(one[[group != name for group in groups]], other) for name in "abc"]
    left_other = [brute_force(one, np.delete(other, index, 0)) for index in range(5)]
    variances = [(len(left) - 1) * np.var(left) for left in (left_one, left_other)]
    value, error, degrees = distance_and_error(kernel, one, other, groups)
    assert value == pytest.approx(brute_force(one, other))
    assert error == pytest.approx(math.sqrt(sum(variances)), rel=1e-9)
    assert degrees == pytest.approx(sum(variances) ** 2 / (variances[0] ** 2 / 2 + variances[1] ** 2 / 4), rel=1e-9)


def test_kid_interval_covers_the_true_distance() -> None:
    rng, shift, hits, rounds = np.random.default_rng(1), 0.8, 0, 400
    truth = kernel_distance(rng.normal(shift, 1, size=(4000, 6)), rng.normal(size=(4000, 6)))
    for _ in range(rounds):
        result = kid.compute(sample(pictures(rng.normal(shift, 1, (25, 6))), pictures(rng.normal(size=(25, 6)))))
        hits += result.interval[0] <= truth <= result.interval[1]
    assert 0.92 <= hits / rounds <= 0.99


def test_kid_of_one_prompt_has_no_interval() -> None:
    result = kid.compute(
        sample(pictures(RNG.normal(size=(4, 3)), groups=("a",) * 4), pictures(RNG.normal(size=(9, 3))))
    )
    assert result.value is not None and result.interval is None and "no interval" in result.flags[0]
    assert result.flags[1].startswith("4 pictures of 1 prompt: those of one prompt resemble each other")


def test_several_pictures_of_one_prompt_raise_kid_and_are_flagged() -> None:
    rng, one, several = np.random.default_rng(2), [], []
    for _ in range(200):
        centres, reference = rng.normal(size=(10, 4)), pictures(rng.normal(size=(10, 4)) * 2**0.5)
        for values, count in ((one, 1), (several, 3)):
            drawn = np.repeat(centres, count, 0) + rng.normal(size=(10 * count, 4))
            groups = tuple(np.repeat([str(index) for index in range(10)], count))
            result = kid.compute(sample(pictures(drawn, groups=groups), reference))
            values.append(result.value)
            assert bool(result.flags) == (count > 1)
    assert abs(np.mean(one)) < 0.3 < np.mean(several)


# ---------------------------------------------------------------- what both refuse and flag


@pytest.mark.parametrize("metric", [fid, kid])
def test_too_few_pictures_or_broken_features_are_refused(metric) -> None:
    good, broken = pictures(RNG.normal(size=(5, 3))), pictures(RNG.normal(size=(5, 3)))
    broken.pooled[2, 1] = np.nan
    for generated, reference in ((pictures([[1, 2, 3]]), good), (good, None), (good, broken)):
        result = metric.compute(sample(generated, reference))
        assert result.value is None and result.interval is None and result.flags[0].startswith(REFUSED)


@pytest.mark.parametrize("metric", [fid, kid])
def test_other_formats_or_sizes_are_flagged(metric) -> None:
    one, other = pictures(RNG.normal(size=(5, 3))), pictures(RNG.normal(size=(5, 3)), source="JPEG 512×512")
    flags = metric.compute(sample(one, other)).flags
    assert "sources differ: generated PNG 64×64, reference JPEG 512×512" in flags


# ---------------------------------------------------------------- cosines


def test_clip_score_is_the_mean_over_prompt_means_of_the_raw_cosine() -> None:
    text = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    image = np.array([[1.0, 0], [0.6, 0.8], [0.8, 0.6], [0.6, 0.8]])
    given = Pictures(pooled=image, image=image, text=text, groups=("a", "a", "a", "b"))
    result = clip_score.compute(sample(given))
    assert result.per_prompt == pytest.approx({"a": 0.8, "b": 0.8})
    assert result.value == pytest.approx(0.8) and result.n_generated == 4 and result.n_reference == 0
    assert result.interval == pytest.approx((0.8, 0.8))


def test_language_drift_looks_at_the_drift_prompts_only() -> None:
    styled, drift = pictures(RNG.normal(size=(4, 3))), pictures(RNG.normal(size=(3, 3)), truncated=("1",))
    result = language_drift.compute(sample(styled, drift=drift))
    assert result.n_generated == 3 and result.value == pytest.approx(1)
    assert "truncated: 1 of 3 prompts" in result.flags[0]
    assert language_drift.compute(sample(styled)).flags[0].startswith(REFUSED)


def test_broken_embeddings_are_refused() -> None:
    given = pictures(RNG.normal(size=(4, 3)))
    given.image[1] = np.nan
    assert clip_score.compute(sample(given)).value is None


def test_one_prompt_has_no_interval() -> None:
    result = clip_score.compute(sample(pictures(RNG.normal(size=(4, 3)), groups=("a",) * 4)))
    assert result.interval is None and result.flags == ("no interval: only one prompt",)


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(1, 12.706204736), (2, 4.302652730), (5, 2.570581836), (9, 2.262157163), (30, 2.042272456), (5000, 1.960438810)],
)
def test_t_quantiles_are_those_of_the_tables(degrees, expected) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(expected, rel=1e-6)


def test_t_interval_of_known_numbers() -> None:
    low, high = t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302652730 / math.sqrt(3), 2 + 4.302652730 / math.sqrt(3)))
    assert t_interval([1.0]) is None


def test_the_interval_over_prompt_means_covers_where_one_over_pictures_does_not() -> None:
    rng, hits = np.random.default_rng(2), {"prompts": 0, "pictures": 0}
    prompts = [str(index // 10) for index in range(100)]
    for _ in range(1000):
        values = (rng.normal(size=(10, 1)) + rng.normal(size=(10, 10))).ravel().tolist()
        for unit, numbers in (("prompts", list(prompt_means(values, prompts).values())), ("pictures", values)):
            low, high = t_interval(numbers)
            hits[unit] += low <= 0 <= high
    assert 930 <= hits["prompts"] <= 970
    assert hits["pictures"] < 700


def test_a_paired_comparison_sees_what_separate_intervals_hide() -> None:
    base = {str(index): 0.1 * index for index in range(10)}
    model = {prompt: value - 0.01 - 0.001 * (int(prompt) % 2) for prompt, value in base.items()}
    paired = compare(model, base)
    assert paired.difference == pytest.approx(-0.0105) and paired.interval[1] < 0
    assert paired.ratio == pytest.approx(sum(model.values()) / sum(base.values()))
    assert t_interval(list(base.values()))[0] < np.mean(list(model.values()))
    assert compare(model, {}) is None
    assert compare({"0": 0.2}, {"0": -0.1}).ratio is None


def test_every_metric_says_what_it_is() -> None:
    records = registry.load("sdstudio.metrics")
    assert {"fid", "kid", "clip_score", "language_drift"} <= set(records)
    for name, record in records.items():
        assert record.name == name and record.label and record.summary.endswith(".") and record.paper and record.needs
