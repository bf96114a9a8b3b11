"""Divergences with known values, tests that keep their level, and a whole look: pytest tests/test_shift.py"""

import math
from pathlib import Path

import numpy as np
import pytest
from drawn_comparison import finished_comparison, logos_beside_real_ones
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sdstudio.evaluation import shifts
from sdstudio.jobs.context import JobContext
from sdstudio.metrics import distribution_shift
from sdstudio.metrics.clusters import k_means, principal_components
from sdstudio.metrics.divergence import js, kl, paired, shares, unpaired
from sdstudio.metrics.sample import NO_INTERVAL, REFUSED, Pictures, Sample
from sdstudio.schema import ShiftConfig, ShiftFindings, UserError, from_json
from sdstudio.workspace import Workspace, read_json

RNG = np.random.default_rng(0)
SHARES = arrays(np.float64, 5, elements=st.floats(0.01, 1)).map(lambda values: values / values.sum())


# ---------------------------------------------------------------- divergences


def test_kl_and_js_of_two_known_coins() -> None:
    assert kl([0.5, 0.5], [0.9, 0.1]) == pytest.approx(0.5108256, abs=1e-7)
    assert js([0.5, 0.5], [0.9, 0.1]) == pytest.approx(0.1017492, abs=1e-7)


def test_kl_and_js_at_their_ends() -> None:
    assert kl([1, 0], [0.5, 0.5]) == pytest.approx(math.log(2)) and kl([0.5, 0.5], [1, 0]) == math.inf
    assert js([1, 0], [0, 1]) == pytest.approx(math.log(2)) and js([1, 0], [1, 0]) == 0


@settings(max_examples=50, deadline=None)
@given(SHARES, SHARES)
def test_js_is_symmetric_bounded_and_below_both_kls(one, other) -> None:
    assert js(one, other) == pytest.approx(js(other, one), abs=1e-12)
    assert -1e-12 <= js(one, other) <= math.log(2)
    assert kl(one, other) >= -1e-12 and js(one, other) <= (kl(one, other) + kl(other, one)) / 4 + 1e-9


def test_smoothed_shares_are_krichevsky_and_trofimov_s() -> None:
    assert shares(np.array([3, 0])) == pytest.approx([3.5 / 4, 0.5 / 4])


# ---------------------------------------------------------------- tests


def one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(4)[labels]


def test_the_unpaired_test_rejects_5_percent_of_nothing() -> None:
    rng, found = np.random.default_rng(1), []
    for seed in range(600):
        first, second = (one_hot(rng.integers(0, 4, size)) for size in (30, 20))
        found.append(unpaired(first, second, rounds=199, seed=seed))
    assert 0.03 <= np.mean([one.p_value <= 0.05 for one in found]) <= 0.07
    assert np.mean([one.js for one in found]) == pytest.approx(np.mean([one.chance for one in found]), rel=0.05)


def test_the_unpaired_test_keeps_its_level_when_the_clusters_come_from_the_same_pictures() -> None:
    rng, hits = np.random.default_rng(2), 0
    for seed in range(200):
        points = rng.normal(size=(40, 3))
        ones = np.eye(4)[k_means(points, 4, seed)]
        hits += unpaired(ones[:25], ones[25:], rounds=99, seed=seed).p_value <= 0.05
    assert 0.02 <= hits / 200 <= 0.085


def test_the_paired_test_keeps_its_level_when_pictures_of_a_prompt_resemble_each_other() -> None:
    """Each prompt has its own favourite cluster; both models follow it, with pictures of one prompt nearly alike."""
    rng, hits, rounds = np.random.default_rng(3), 0, 500
    for seed in range(rounds):
        favourites = rng.dirichlet(np.full(4, 0.3), size=10)
        first, second = (np.stack([rng.multinomial(8, favourite) for favourite in favourites]) for _ in range(2))
        hits += paired(first, second, rounds=199, seed=seed).p_value <= 0.05
    assert 0.025 <= hits / rounds <= 0.075


def test_both_tests_see_a_model_that_draws_one_thing_only() -> None:
    many, one = one_hot(RNG.integers(0, 4, 40)), one_hot(np.zeros(40, int))
    assert unpaired(many, one).p_value == pytest.approx(0.001)
    prompts, same = np.tile([2.0, 2, 2, 2], (10, 1)), np.tile([8.0, 0, 0, 0], (10, 1))
    found = paired(prompts, same)
    assert found.p_value < 0.01 and found.js > 5 * found.chance


# ---------------------------------------------------------------- clusters


def test_principal_components_keep_distances_and_order_variance() -> None:
    features = RNG.normal(size=(12, 5)) * [5, 3, 1, 0.5, 0.1]
    points = principal_components(features, 5)
    away = np.linalg.norm(features[:, None] - features[None], axis=2)
    assert np.linalg.norm(points[:, None] - points[None], axis=2) == pytest.approx(away)
    assert list(np.argsort(-points.var(0))) == [0, 1, 2, 3, 4]
    assert principal_components(features[:3], 8).shape == (3, 2)


def test_k_means_finds_clouds_that_are_apart() -> None:
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    truth = np.repeat([0, 1, 2], 15)
    found = k_means(centres[truth] + RNG.normal(size=(45, 2)), 3)
    assert len(set(found)) == 3 and all(len(set(found[truth == cloud])) == 1 for cloud in range(3))


def test_k_means_of_fewer_points_than_clusters_and_of_equal_ones() -> None:
    assert len(set(k_means(np.zeros((6, 2)), 4))) == 1
    assert len(set(k_means(np.array([[0.0], [1], [2]]), 8))) == 3


# ---------------------------------------------------------------- the metric


def pictures(features: np.ndarray) -> Pictures:
    names = tuple(map(str, range(len(features))))
    return Pictures(pooled=features, image=features, text=features[:0], groups=names, names=names, source="PNG")


def sample(generated: np.ndarray, reference: np.ndarray) -> Sample:
    return Sample(
        model="m", generated=pictures(generated), reference=pictures(reference), extractor="e", preprocessing="p"
    )


def test_the_metric_grows_with_the_shift_and_says_what_chance_gives() -> None:
    real, same = RNG.normal(size=(60, 5)), RNG.normal(size=(60, 5))
    values = [distribution_shift.compute(sample(same + step, real)).value for step in (0, 1, 3)]
    assert values[0] < values[1] < values[2] <= math.log(2)
    assert distribution_shift.compute(sample(same, real)).flags[0].startswith(NO_INTERVAL)
    few = distribution_shift.compute(sample(same[:9], real))
    assert few.value is None and few.flags[0].startswith(REFUSED)


# ---------------------------------------------------------------- the whole look


@pytest.fixture
def comparison(tmp_path: Path) -> tuple[Workspace, str]:
    ws = Workspace(tmp_path)
    return ws, logos_beside_real_ones(ws).name


def look(ws: Workspace, config: ShiftConfig) -> ShiftFindings:
    ctx = JobContext(ws, ws.tasks / "look")
    ctx.folder.mkdir(parents=True)
    assert shifts.run_shift(config, ctx)
    found = from_json(ShiftFindings, read_json(ctx.folder / shifts.SHIFT_FILE))
    assert found == from_json(ShiftFindings, read_json(ws.evaluations / config.comparison / shifts.SHIFT_FILE))
    return found


def test_a_look_tells_what_moved_from_the_base_model_and_what_is_near_the_real_pictures(comparison) -> None:
    ws, name = comparison
    found = look(ws, ShiftConfig(comparison=name, clusters=4, components=4, rounds=199))
    [model] = found.models
    assert model.label == "Model lora" and model.left_out == []
    assert model.base.p_value < 0.05 and model.base.js > 3 * model.base.chance
    assert model.original.js < model.base.js / 2
    [only] = model.classes
    assert {source: sum(counts) for source, counts in only.counts.items()} == {
        "original": 20,
        "base": 16,
        "trained": 16,
    }
    assert len(only.places) == 52 and {place.source for place in only.places} == set(shifts.SOURCES)
    assert found.flags[0].startswith("16 pictures of 8 prompts")
    assert found.flags[-1].startswith("seen through the starter's encoder")


def test_crops_of_a_class_that_the_base_model_does_not_draw_are_said_to_be_too_few(comparison) -> None:
    ws, name = comparison
    with pytest.raises(UserError, match="choose another detector"):
        look(ws, ShiftConfig(comparison=name, clusters=4, detector="template", rounds=199))


def test_crops_are_cut_out_and_clustered_by_class(comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    ws, name = comparison
    config = ShiftConfig(
        comparison=name, clusters=4, detector="template", detector_options={"threshold": 0.0}, rounds=199
    )
    found = look(ws, config)
    assert [one.name for one in found.models[0].classes] == ["logo"]
    with Image.open(next((ws.tasks / "look" / "crops" / "original").iterdir())) as crop:
        assert max(crop.size) <= 64


def test_what_cannot_be_compared_is_refused(comparison) -> None:
    ws, name = comparison
    with pytest.raises(UserError, match="cannot fill 16 clusters"):
        shifts.check_shift(ws, ShiftConfig(comparison=name, clusters=16))
    with pytest.raises(UserError, match="no finished comparison"):
        shifts.check_shift(ws, ShiftConfig(comparison="elsewhere"))
    folder = finished_comparison(ws, "20260102-120000-alone-0001", trained=())
    with pytest.raises(UserError, match="no reference pictures"):
        shifts.check_shift(ws, ShiftConfig(comparison=folder.name))
