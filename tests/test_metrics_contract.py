"""What every metric keeps to, whatever it measures: pytest tests/test_metrics_contract.py"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdstudio import registry
from sdstudio.evaluation.protocol import check_protocol
from sdstudio.features.choosing import Encoders
from sdstudio.metrics.sample import NOT_COMPUTED, REFUSED, Pictures, Sample, part
from sdstudio.schema import Metric, ModelRef, Protocol, UserError
from sdstudio.workspace import Workspace

METRICS: dict[str, Metric] = dict(registry.load("sdstudio.metrics"))
SEEING = sorted(name for name, metric in METRICS.items() if metric.features)
PROMPTS, EACH, REAL = 8, 3, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for place in range(REAL):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{place}.png")
    return folder


def pictures(folder: Path, count: int, prefix: str, seed: int, each: int = 1) -> Pictures:
    rng = np.random.default_rng(seed)
    pooled = rng.normal(1, 1, size=(count, 6)).astype(np.float32)
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    names = tuple(f"{prefix}{place}" for place in range(count))
    groups = tuple(f"{prefix} prompt {place // each}" for place in range(count)) if each > 1 else names
    paths = tuple(folder / f"{place}.png" for place in range(count))
    return Pictures(pooled=pooled, image=unit, text=unit[::-1], groups=groups, names=names, paths=paths, source="PNG")


@pytest.fixture
def whole(folder: Path) -> Sample:
    """A sample that has everything a metric can ask for, but ratings."""
    drawn = pictures(folder, PROMPTS * EACH, "drawn", 1, EACH)
    return Sample(
        model="m",
        key="lora-1",
        folder=folder,
        generated=drawn,
        drift=pictures(folder, PROMPTS * EACH, "drift", 2, EACH),
        reference=pictures(folder, REAL, "real", 3),
        training=pictures(folder, REAL, "seen", 4),
        base=pictures(folder, PROMPTS * EACH, "base", 5, EACH),
        partners=tuple((place, place) for place in range(PROMPTS * EACH)),
        extractor="an encoder",
        preprocessing="as it is",
        flags=("a flag of the row",),
    )


def changed(sample: Sample, change: Callable[[Pictures], Pictures]) -> Sample:
    """Every set of drawn pictures changed; the places of partners follow those of `generated`."""
    drift = change(sample.drift) if sample.drift else None
    return replace(sample, generated=change(sample.generated), drift=drift)


def computed(name: str, sample: Sample) -> float | None:
    value: float | None = METRICS[name].compute(sample).value
    return value


@pytest.mark.parametrize("name", sorted(METRICS))
def test_it_says_what_it_is_and_what_it_looks_through(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name and metric.label and metric.paper and metric.summary.endswith(".")
    assert len(metric.summary) <= 120 and metric.better in ("higher", "lower") and metric.needs
    assert set(metric.features) <= set(registry.load("sdstudio.features"))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_cell_carries_its_n_its_encoder_and_the_rows_flags(name: str, whole: Sample) -> None:
    cell = METRICS[name].compute(whole)
    assert (cell.metric, cell.model) == (name, "m")
    assert cell.n_generated > 0 and "a flag of the row" in cell.flags
    assert (cell.extractor, cell.preprocessing) == ("an encoder", "as it is") or name not in SEEING
    if cell.value is None:
        assert cell.flags[0].startswith((REFUSED, NOT_COMPUTED)) and cell.interval is None
        return
    assert np.isfinite(cell.value)
    if cell.interval:
        assert cell.interval[0] <= cell.value + 1e-9 and cell.value - 1e-9 <= cell.interval[1]
    if {"reference", "training"} & set(METRICS[name].needs):
        assert cell.n_reference == (PROMPTS * EACH if name == "lpips_paired" else REAL)
    known = {*whole.generated.names, *whole.drift.names} if whole.drift else set()
    assert set(cell.per_picture) <= known
    assert set(cell.nearest.values()) <= {*whole.training.names} if whole.training else not cell.nearest


@pytest.mark.parametrize("name", SEEING)
def test_seeing_metrics_have_a_value_where_they_have_all_they_need(name: str, whole: Sample) -> None:
    assert computed(name, whole) is not None


@pytest.mark.parametrize("name", SEEING)
def test_the_order_of_the_drawn_pictures_does_not_matter(name: str, whole: Sample) -> None:
    order = np.random.default_rng(6).permutation(PROMPTS * EACH)
    shuffled = changed(whole, lambda given: part(given, order))
    follows = {int(before): after for after, before in enumerate(order)}
    shuffled = replace(shuffled, partners=tuple((follows[drawn], real) for drawn, real in whole.partners))
    assert computed(name, shuffled) == pytest.approx(computed(name, whole), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", SEEING)
def test_nan_is_refused_in_words(name: str, whole: Sample) -> None:
    def broken(given: Pictures) -> Pictures:
        pooled, image = given.pooled.copy(), given.image.copy()
        pooled[2], image[2] = np.nan, np.nan
        return replace(given, pooled=pooled, image=image)

    cell = METRICS[name].compute(changed(whole, broken))
    assert cell.value is None and cell.interval is None and cell.flags[0] == f"{REFUSED}: some features are not finite"


@pytest.mark.parametrize("name", SEEING)
def test_no_pictures_are_refused_in_words(name: str, whole: Sample) -> None:
    none = np.array([], int)
    empty = replace(changed(whole, lambda given: part(given, none)), partners=())
    cell = METRICS[name].compute(empty)
    assert cell.value is None and cell.flags[0].startswith(REFUSED) and cell.n_generated == 0


@pytest.mark.parametrize("name", sorted(METRICS))
def test_what_it_needs_and_does_not_get_is_said(name: str, whole: Sample) -> None:
    bare = Sample(model="m", generated=whole.generated, extractor="e", preprocessing="p")
    cell = METRICS[name].compute(bare)
    if set(METRICS[name].needs) <= {"prompts"}:
        assert cell.value is not None
    else:
        assert cell.value is None and cell.flags[0].startswith((REFUSED, NOT_COMPUTED))


@pytest.mark.parametrize("name", [name for name in SEEING if "reference" in METRICS[name].needs])
def test_files_of_another_kind_are_flagged(name: str, whole: Sample) -> None:
    other = replace(whole, reference=replace(whole.reference, source="JPEG 512×512") if whole.reference else None)
    assert "sources differ: generated PNG, reference JPEG 512×512" in METRICS[name].compute(other).flags


@pytest.mark.parametrize("name", [name for name in SEEING if METRICS[name].needs == ("prompts", "reference")])
def test_the_real_pictures_themselves_score_best(name: str, whole: Sample) -> None:
    """Against pictures of another place; FID, KID and CMMD of a set with itself are at or below zero."""
    assert whole.reference is not None
    same = replace(whole.reference, groups=tuple(f"prompt {place // 4}" for place in range(REAL)))
    far = replace(same, pooled=-9 - same.pooled, image=np.roll(same.image, 1, axis=1) * [1, -1, 1, -1, 1, -1])
    found = [computed(name, replace(whole, generated=drawn)) for drawn in (same, far)]
    assert found[0] is not None and found[1] is not None
    assert found[0] > found[1] if METRICS[name].better == "higher" else found[0] < found[1]
    if name in ("fid", "kid", "cmmd"):
        assert found[0] <= 1e-6


# ---------------------------------------------------------------- which encoder


@pytest.mark.parametrize("name", sorted(METRICS))
def test_on_the_starter_the_starters_encoders_look(name: str, tmp_path: Path) -> None:
    chosen = Encoders(None, True, tmp_path).name_for(METRICS[name])
    assert chosen in ("", "clip", "starter", "starter_layers")
    assert bool(chosen) == bool(METRICS[name].features)


@pytest.mark.parametrize("name", SEEING)
def test_elsewhere_a_metrics_own_encoder_looks_unless_another_is_preferred(name: str, tmp_path: Path) -> None:
    metric = METRICS[name]
    assert Encoders(None, False, tmp_path).name_for(metric) == metric.features[0]
    preferred = Encoders(None, False, tmp_path, prefer=["lpips_vgg", "dino"]).name_for(metric)
    wanted = [other for other in ("lpips_vgg", "dino") if other in metric.features]
    assert preferred == (wanted or metric.features)[0]


def test_an_unknown_encoder_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    protocol = Protocol(models=[ModelRef()], prompts=["a"], metrics=["clip_score"], encoders=["sight"])
    with pytest.raises(UserError, match="There is no encoder 'sight': choose from clip, dino, inception, lpips_alex"):
        check_protocol(Workspace(tmp_path), protocol)


def test_the_guide_has_a_row_for_every_metric_and_encoder() -> None:
    guide = (Path(__file__).parents[1] / "docs/metrics.md").read_text(encoding="utf-8")
    for name, metric in METRICS.items():
        row = next((line for line in guide.splitlines() if line.startswith(f"| `{name}` |")), "")
        assert ("↑" if metric.better == "higher" else "↓") in row, f"docs/metrics.md has no right row for {name}"
    for name in registry.load("sdstudio.features"):
        assert f"| `{name}` |" in guide
