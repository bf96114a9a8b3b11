"""Metrics of whole sets of features, against known values and plain loops: pytest tests/test_metrics_sets.py"""

import math
from dataclasses import replace

import numpy as np
import pytest

from sdstudio import registry
from sdstudio.metrics import clip_image, cmmd, coverage, density, fid_per_prompt, precision, recall, vendi
from sdstudio.metrics.fid import frechet_distance
from sdstudio.metrics.mmd import distance_and_error
from sdstudio.metrics.neighbours import balls_hit, nearest, radii
from sdstudio.metrics.sample import EXPLORATORY, NO_INTERVAL, REFUSED, Pictures, Sample

RNG = np.random.default_rng(0)
RECORDS = registry.load("sdstudio.metrics")
TO_REFERENCE = sorted(name for name, record in RECORDS.items() if record.needs == ("prompts", "reference"))


def pictures(features, groups=None):
    features = np.asarray(features, np.float64)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    names = tuple(str(index) for index in range(len(features)))
    return Pictures(pooled=features, image=unit, text=unit, groups=groups or names, source="PNG 64×64")


def sample(generated, reference=None):
    return Sample(model="m", generated=generated, reference=reference, extractor="e", preprocessing="p")


def line(*places):
    return np.array(places, float)[:, None]


# ---------------------------------------------------------------- known values


def test_cmmd_of_two_orthogonal_pairs() -> None:
    one, other = np.tile([1.0, 0], (2, 1)), np.tile([0, 1.0], (3, 1))
    value, _, _ = distance_and_error(cmmd.kernel, one, other)
    assert value == pytest.approx(2000 * (1 - math.exp(-0.01)), rel=1e-9)


def test_cmmd_looks_at_embeddings_not_at_pooled_features() -> None:
    one, other = pictures(RNG.normal(size=(6, 4))), pictures(RNG.normal(size=(7, 4)))
    stretched = replace(one, pooled=one.pooled * 9)
    assert cmmd.compute(sample(one, other)).value == cmmd.compute(sample(stretched, other)).value


def test_radii_reach_the_kth_other_point() -> None:
    assert radii(line(0, 1, 3, 7), 2).tolist() == [3, 2, 3, 6]


def test_balls_are_closed() -> None:
    assert balls_hit(line(0, 10), np.array([2.0, 3.0]), line(2, 2.001, 7, 8.5)).tolist() == [1, 0, 1, 1]


def test_precision_counts_generated_and_recall_reference_pictures() -> None:
    real, drawn = pictures(line(1, 2, 3, 4)), pictures(line(2.5, 3.5, 50, 60, 70))
    assert precision.compute(sample(drawn, real)).value == pytest.approx(2 / 5)
    assert recall.compute(sample(pictures(line(1, 1.1, 1.2, 1.3, 1.4)), real)).value == pytest.approx(1 / 4)


def test_density_passes_one_and_coverage_does_not() -> None:
    real = pictures(line(1, 2, 3, 4, 5, 6))
    drawn = pictures(line(3.4, 3.5, 3.6, 3.4, 3.5, 3.6))
    assert density.compute(sample(drawn, real)).value == pytest.approx(6 / 5)
    assert coverage.compute(sample(drawn, real)).value == 1
    far = pictures(line(90, 91, 92, 93, 94, 95))
    assert density.compute(sample(far, real)).value == coverage.compute(sample(far, real)).value == 0


@pytest.mark.parametrize(("rows", "expected"), [(np.eye(5), 5), (np.tile([1.0, 0], (7, 1)), 1)])
def test_vendi_of_nothing_alike_and_of_all_alike(rows, expected) -> None:
    assert vendi.vendi_score(rows) == pytest.approx(expected, rel=1e-9)


def test_vendi_of_two_equal_kinds_is_2_and_of_unequal_kinds_less() -> None:
    assert vendi.vendi_score(np.repeat(np.eye(2), [4, 4], axis=0)) == pytest.approx(2)
    shares = np.array([0.9, 0.1])
    expected = math.exp(-np.sum(shares * np.log(shares)))
    assert vendi.vendi_score(np.repeat(np.eye(2), [9, 1], axis=0)) == pytest.approx(expected)


def test_clip_image_is_the_mean_over_all_pairs() -> None:
    drawn, real = pictures(RNG.normal(size=(4, 3)), groups=("a", "a", "a", "b")), pictures(RNG.normal(size=(6, 3)))
    cosines = drawn.image @ real.image.T
    result = clip_image.compute(sample(drawn, real))
    assert result.per_prompt == pytest.approx({"a": cosines[:3].mean(), "b": cosines[3].mean()})
    assert result.value == pytest.approx((cosines[:3].mean() + cosines[3].mean()) / 2)


def test_fid_per_prompt_is_the_mean_of_its_prompts_and_not_the_pooled_one() -> None:
    features = RNG.normal(size=(7, 3)) + np.repeat([0.0, 3.0, 9.0], [3, 3, 1])[:, None]
    drawn, real = pictures(features, groups=tuple("aaabbbc")), pictures(RNG.normal(size=(20, 3)))
    result = fid_per_prompt.compute(sample(drawn, real))
    each = [frechet_distance(features[:3], real.pooled), frechet_distance(features[3:6], real.pooled)]
    assert result.value == pytest.approx(sum(each) / 2)
    assert list(result.per_prompt) == ["a", "b"]
    assert result.value != pytest.approx(frechet_distance(features, real.pooled), rel=0.05)
    assert result.flags[0].startswith(EXPLORATORY)


def test_fid_per_prompt_of_one_picture_a_prompt_is_refused() -> None:
    result = fid_per_prompt.compute(sample(pictures(RNG.normal(size=(5, 3))), pictures(RNG.normal(size=(5, 3)))))
    assert result.value is None and result.flags[0].startswith(REFUSED)


# ---------------------------------------------------------------- plain loops


def test_neighbour_metrics_equal_plain_loops() -> None:
    one, other = RNG.normal(size=(30, 4)), RNG.normal(0.5, 1.2, size=(25, 4))

    def distance(x, y):
        return math.dist(x, y)

    def reach(points, k):
        return [sorted(distance(x, y) for y in points)[k] for x in points]

    drawn, real = pictures(one), pictures(other)
    for metric, k in ((precision, 3), (density, 5)):
        reached = reach(other, k)
        hits = [sum(distance(x, y) <= far for y, far in zip(other, reached, strict=True)) for x in one]
        expected = np.mean([hit > 0 for hit in hits]) if metric is precision else np.mean(hits) / k
        assert metric.compute(sample(drawn, real)).value == pytest.approx(expected)
    reached = reach(one, 3)
    expected = np.mean([any(distance(y, x) <= far for x, far in zip(one, reached, strict=True)) for y in other])
    assert recall.compute(sample(drawn, real)).value == pytest.approx(expected)
    reached = reach(other, 5)
    expected = np.mean([min(distance(y, x) for x in one) <= far for y, far in zip(other, reached, strict=True)])
    assert coverage.compute(sample(drawn, real)).value == pytest.approx(expected)


def test_blocks_of_rows_change_nothing(monkeypatch) -> None:
    one, other = RNG.normal(size=(9, 3)), RNG.normal(size=(7, 3))
    whole = radii(one, 3), balls_hit(other, radii(other, 3), one), nearest(one, other)
    monkeypatch.setattr("sdstudio.metrics.neighbours._ROWS", 2)
    parts = radii(one, 3), balls_hit(other, radii(other, 3), one), nearest(one, other)
    for before, after in zip(whole, parts, strict=True):
        assert after == pytest.approx(before)


# ---------------------------------------------------------------- what holds for each


@pytest.mark.parametrize("name", TO_REFERENCE)
def test_pictures_from_the_reference_beat_strangers(name) -> None:
    """Real ones drawn from the same law score better than those of a shifted and narrowed one."""
    rng, groups = np.random.default_rng(3), tuple(np.repeat([str(index) for index in range(20)], 2))
    real = pictures(rng.normal(size=(60, 4)) + 3)
    alike = pictures(rng.normal(size=(40, 4)) + 3, groups=groups)
    strange = pictures(0.3 * rng.normal(size=(40, 4)) + [9, -4, 3, 3], groups=groups)
    good, bad = (RECORDS[name].compute(sample(drawn, real)).value for drawn in (alike, strange))
    assert good > bad if RECORDS[name].better == "higher" else good < bad


@pytest.mark.parametrize("metric", [precision, density, clip_image])
def test_a_mean_over_one_prompt_has_no_interval_and_says_so(metric) -> None:
    drawn = pictures(RNG.normal(size=(8, 3)), groups=("a",) * 8)
    result = metric.compute(sample(drawn, pictures(RNG.normal(size=(9, 3)))))
    assert result.interval is None and result.flags[0].startswith(NO_INTERVAL)
