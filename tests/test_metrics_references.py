"""Our numbers against the field's own programs, on the same features: pytest tests/test_metrics_references.py

The slow part asks torch-fidelity and clean-fid themselves. They pull in torchvision, which must not be installed here,
so they are put aside and pointed to:
    pip install --no-deps --target references torch-fidelity==0.4.0 clean-fid==0.1.35 tqdm requests
    PYTHONPATH=references pytest -m slow tests/test_metrics_references.py
"""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import linalg

from sdstudio.features import inception
from sdstudio.features.encoding import resized
from sdstudio.metrics import precision, recall
from sdstudio.metrics.fid import frechet_distance
from sdstudio.metrics.kid import kernel
from sdstudio.metrics.mmd import distance_and_error
from sdstudio.metrics.sample import Pictures, Sample

SIZES = [(40, 40, 16), (64, 90, 24), (120, 60, 8), (30, 45, 64)]
"""Pictures of each side and dimensions; the last has fewer pictures than dimensions."""


def features(first: int, second: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets as networks make them: not negative, correlated, of different means."""
    rng = np.random.default_rng(first)
    mixing = rng.normal(size=(dimensions, dimensions)) / dimensions**0.5
    one = np.maximum(rng.normal(0.4, 1, size=(first, dimensions)) @ mixing, 0)
    other = np.maximum(rng.normal(0.6, 1.3, size=(second, dimensions)) @ mixing, 0)
    return one, other


def pictures(values: np.ndarray) -> Pictures:
    names = tuple(str(place) for place in range(len(values)))
    return Pictures(pooled=values, image=values[:, :0], text=values[:, :0], groups=names)


def sample(one: np.ndarray, other: np.ndarray) -> Sample:
    return Sample(model="m", generated=pictures(one), reference=pictures(other), extractor="e", preprocessing="p")


# ---------------------------------------------------------------- torchmetrics


@pytest.mark.parametrize("sizes", SIZES)
def test_fid_equals_that_of_torchmetrics(sizes: tuple[int, int, int]) -> None:
    from torchmetrics.image.fid import _compute_fid

    one, other = features(*sizes)
    moments = [
        part for values in (one, other) for part in (torch.tensor(values.mean(0)), torch.tensor(np.cov(values.T)))
    ]
    assert frechet_distance(one, other) == pytest.approx(_compute_fid(*moments).item(), rel=1e-6)


@pytest.mark.parametrize("sizes", [size for size in SIZES if size[0] == size[1]])
def test_kid_equals_that_of_torchmetrics(sizes: tuple[int, int, int]) -> None:
    from torchmetrics.image.kid import poly_mmd

    one, other = features(*sizes)
    expected = poly_mmd(torch.tensor(one), torch.tensor(other)).item()
    assert distance_and_error(kernel, one, other)[0] == pytest.approx(expected, rel=1e-9)


def test_kid_of_unequal_n_is_wrong_in_torchmetrics() -> None:
    """It divides both sides' sums by the first one's number of pairs: 2⅓ where the distance is 7 at every N."""
    from torchmetrics.image.kid import poly_mmd

    zeros, others = np.zeros((3, 4)), np.tile([2.0, 0, 0, 0], (2, 1))
    assert poly_mmd(torch.tensor(zeros), torch.tensor(others)).item() == pytest.approx(7 / 3, rel=1e-9)
    assert distance_and_error(kernel, zeros, others)[0] == pytest.approx(7, rel=1e-12)


# ---------------------------------------------------------------- SciPy, whose sqrtm is in all of them


@pytest.mark.parametrize("sizes", SIZES)
def test_fid_equals_the_square_root_of_scipy(sizes: tuple[int, int, int]) -> None:
    one, other = features(*sizes)
    first, second = np.cov(one.T), np.cov(other.T)
    shift = one.mean(0) - other.mean(0)
    if sizes[2] >= min(sizes[:2]):  # singular: the published programs add 1e-6 to the diagonal
        first, second = (cov + 1e-10 * np.eye(len(cov)) for cov in (first, second))
    root = np.trace(linalg.sqrtm(first @ second)).real
    expected = shift @ shift + np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6 if sizes[2] < min(sizes[:2]) else 1e-4)


# ---------------------------------------------------------------- torch-fidelity and clean-fid


class Anything(type):
    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class Absent(metaclass=Anything):
    """In torchvision's place while they are imported: whatever they name there is this class. Nothing of it is used."""


def brought(name: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    for part in ("", ".datasets", ".transforms", ".transforms.functional", ".models", ".models.utils"):
        monkeypatch.setitem(sys.modules, f"torchvision{part}", Absent)
    return pytest.importorskip(name, reason="see the head of this file")


@pytest.fixture
def fidelity(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    return brought("torch_fidelity", monkeypatch)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    return brought("cleanfid.fid", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES)
def test_fid_equals_that_of_torch_fidelity_and_clean_fid(
    sizes: tuple[int, int, int], fidelity: types.ModuleType, clean: types.ModuleType
) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    one, other = features(*sizes)
    statistics = [fid_features_to_statistics(torch.tensor(values)) for values in (one, other)]
    theirs = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert frechet_distance(one, other) == pytest.approx(theirs, rel=1e-6)
    moments = [part for values in (one, other) for part in (values.mean(0), np.cov(values.T))]
    if sizes[2] < min(sizes[:2]):  # its square root of a singular matrix is not finite
        assert frechet_distance(one, other) == pytest.approx(clean.frechet_distance(*moments), rel=1e-6)


@pytest.mark.slow
def test_kid_equals_that_of_torch_fidelity_and_clean_fid(fidelity: types.ModuleType, clean: types.ModuleType) -> None:
    from torch_fidelity.metric_kid import kid_features_to_metric

    one, other = features(40, 40, 16)
    found = distance_and_error(kernel, one, other)[0]
    settings = dict(kid_subsets=1, kid_subset_size=40, verbose=False)
    theirs = kid_features_to_metric(torch.tensor(one), torch.tensor(other), **settings)
    assert found == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert found == pytest.approx(clean.kernel_distance(one, other, num_subsets=1), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES)
def test_precision_and_recall_equal_those_of_torch_fidelity(
    sizes: tuple[int, int, int], fidelity: types.ModuleType
) -> None:
    from torch_fidelity.metric_prc import prc_features_to_metric

    one, other = features(*sizes)
    theirs = prc_features_to_metric(torch.tensor(one), torch.tensor(other), verbose=False, save_cpu_ram=False)
    assert precision.compute(sample(one, other)).value == pytest.approx(theirs["precision"], rel=1e-6)
    assert recall.compute(sample(one, other)).value == pytest.approx(theirs["recall"], rel=1e-6)


@pytest.mark.slow
def test_inception_equals_that_of_torch_fidelity(fidelity: types.ModuleType, tmp_path: Path) -> None:
    """Weights are exchanged by name; its own resizing leaves 299 pixels as they are."""
    torch.manual_seed(0)
    network = inception.Inception().eval()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.dim() > 1:
                value.normal_(0, (2 / value[0].numel()) ** 0.5)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    theirs = fidelity.FeatureExtractorInceptionV3("i", ["2048"], str(tmp_path / "weights.pth"))
    pixels = torch.randint(0, 256, (2, 3, 299, 299), dtype=torch.uint8)
    with torch.inference_mode():
        expected, found = theirs(pixels)[0], network(pixels.float())
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("side", [(64, 64), (640, 480)])
def test_resizing_equals_that_of_clean_fid(side: tuple[int, int], clean: types.ModuleType) -> None:
    from cleanfid.resize import build_resizer

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*side, 3), dtype=np.uint8))
    expected = build_resizer("clean")(np.asarray(picture)).transpose(2, 0, 1)
    assert np.array_equal(resized(picture, 299), expected)
