"""Nominal 95% intervals hold what they should in 93 to 97 of 100 worlds, and tests of nothing find something in 5.

pytest tests/test_metrics_intervals.py; with `-m slow` also the kernel distances' jackknife
"""

import math

import numpy as np
import pytest

from sdstudio.metrics import clip_score, cmmd, copy_rate, diversity, kid, lpips
from sdstudio.metrics.mmd import Kernel, distance_and_error, measured
from sdstudio.metrics.sample import Pictures, Sample
from sdstudio.metrics.statistics import compare, holm, sign_flip_test
from sdstudio.ratings.proportion import wilson
from sdstudio.schema import MetricResult

PROMPTS, EACH = 10, 4
GROUPS = tuple(str(prompt) for prompt in range(PROMPTS) for _ in range(EACH))
ROUNDS = 1000


def clustered(rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """One number for each picture: pictures of a prompt resemble each other."""
    return np.repeat(rng.normal(0, spread, PROMPTS), EACH) + rng.normal(0, 1, PROMPTS * EACH)


def pictures(pooled: np.ndarray, groups: tuple[str, ...] = (), **more: np.ndarray) -> Pictures:
    nothing = pooled[:, :0]
    names = groups or tuple(str(place) for place in range(len(pooled)))
    labels = tuple(f"{name} {place}" for place, name in enumerate(names))
    return Pictures(
        pooled=pooled, image=more.get("image", nothing), text=more.get("text", nothing), groups=names, names=labels
    )


def sample(generated: Pictures, **more: Pictures) -> Sample:
    return Sample(model="m", generated=generated, extractor="e", preprocessing="p", **more)


def covered(result: MetricResult, truth: float) -> bool:
    assert result.interval is not None
    return result.interval[0] <= truth <= result.interval[1]


# ---------------------------------------------------------------- coverage


def test_cosines_with_prompts() -> None:
    """Angles between picture and prompt, normal around a prompt's own: the mean cosine is known."""
    rng, hits = np.random.default_rng(1), 0
    truth = math.cos(1.2) * math.exp(-(0.1**2 + 0.1**2) / 2)
    text = np.tile([1.0, 0], (len(GROUPS), 1))
    for _ in range(ROUNDS):
        angles = 1.2 + 0.1 * clustered(rng)
        image = np.stack([np.cos(angles), np.sin(angles)], 1)
        hits += covered(clip_score.compute(sample(pictures(image, GROUPS, image=image, text=text))), truth)
    assert 0.93 <= hits / ROUNDS <= 0.97


def test_perceptual_distance_to_a_fixed_reference() -> None:
    rng, hits, real = np.random.default_rng(2), 0, pictures(np.array([[9.0], [11.0]]))
    for _ in range(ROUNDS):
        drawn = pictures(clustered(rng)[:, None], GROUPS)
        hits += covered(lpips.compute(sample(drawn, reference=real)), 10**2 + 1 + 2)
    assert 0.93 <= hits / ROUNDS <= 0.97


@pytest.mark.slow
def test_diversity_within_prompts() -> None:
    rng, hits = np.random.default_rng(3), 0
    for _ in range(ROUNDS):
        drawn = rng.normal(size=(len(GROUPS), 8)) + np.repeat(rng.normal(size=(PROMPTS, 8)), EACH, 0)
        hits += covered(diversity.compute(sample(pictures(drawn, GROUPS))), 2 * 8)
    assert 0.93 <= hits / ROUNDS <= 0.97


def test_paired_change_from_the_base() -> None:
    rng, hits = np.random.default_rng(4), 0
    for _ in range(ROUNDS):
        base = {str(prompt): value for prompt, value in enumerate(rng.normal(0, 3, PROMPTS))}
        change = compare({name: value + 0.2 + rng.normal(0, 0.4) for name, value in base.items()}, base)
        assert change and change.interval
        hits += change.interval[0] <= 0.2 <= change.interval[1]
    assert 0.93 <= hits / ROUNDS <= 0.97


@pytest.mark.parametrize("rated", [20, 50, 100])
def test_wilson_over_all_shares(rated: int) -> None:
    """Exact, not simulated: over every possible count, averaged over shares from 0.02 to 0.98."""
    intervals = [wilson(hits, rated) or (0, 0) for hits in range(rated + 1)]
    coverage = []
    for share in np.linspace(0.02, 0.98, 97):
        chances = [math.comb(rated, hits) * share**hits * (1 - share) ** (rated - hits) for hits in range(rated + 1)]
        coverage.append(
            sum(chance for chance, (low, high) in zip(chances, intervals, strict=True) if low <= share <= high)
        )
    assert 0.93 <= np.mean(coverage) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "scale"), [(kid.kernel, 1.0), (cmmd.kernel, 4.0)], ids=["KID", "CMMD"])
def test_kernel_distances(kernel: Kernel, scale: float) -> None:
    """50 pictures a side of shifted normal laws, against the distance of 2 × 4,000."""
    rng, hits, shift = np.random.default_rng(5), 0, 0.8

    def drawn(count: int, mean: float) -> np.ndarray:
        return scale * rng.normal(mean, 1, size=(count, 6))

    truth = np.mean([distance_and_error(kernel, drawn(2000, shift), drawn(2000, 0))[0] for _ in range(4)])
    for _ in range(600):
        interval = measured(kernel, drawn(50, shift), drawn(50, 0), [str(place) for place in range(50)]).interval
        hits += interval is not None and interval[0] <= truth <= interval[1]
    assert 0.93 <= hits / 600 <= 0.97


# ---------------------------------------------------------------- tests where there is nothing to find


def rejections(p_values: list[float]) -> float:
    return float(np.mean([value <= 0.05 for value in p_values]))


@pytest.mark.parametrize("count", [10, 20])
def test_sign_flips_of_models_that_are_alike(count: int) -> None:
    rng = np.random.default_rng(6)
    found = [sign_flip_test(rng.normal(size=count).tolist(), rounds=399) or 1.0 for _ in range(ROUNDS)]
    assert 0.035 <= rejections(found) <= 0.065


def test_holm_keeps_five_models_to_one_false_alarm_in_twenty() -> None:
    rng = np.random.default_rng(7)
    worst = [
        min(holm({str(model): sign_flip_test(rng.normal(size=10).tolist()) or 1 for model in range(5)}).values())
        for _ in range(400)
    ]
    assert 0.02 <= rejections(worst) <= 0.075


def test_paired_intervals_leave_zero_out_once_in_twenty() -> None:
    rng, misses = np.random.default_rng(8), 0
    for _ in range(ROUNDS):
        one, other = ({str(prompt): value for prompt, value in enumerate(rng.normal(size=PROMPTS))} for _ in range(2))
        change = compare(one, other)
        assert change and change.interval
        misses += not change.interval[0] <= 0 <= change.interval[1]
    assert 0.035 <= misses / ROUNDS <= 0.065


def test_a_model_that_draws_new_pictures_of_the_kind_copies_one_in_twenty() -> None:
    rng, rates = np.random.default_rng(9), []
    for _ in range(60):
        training, held_out, drawn = (pictures(rng.normal(size=(count, 5))) for count in (40, 200, 200))
        result = copy_rate.compute(sample(drawn, reference=held_out, training=training))
        rates.append(result.value)
    assert 0.035 <= np.mean(rates) <= 0.065
