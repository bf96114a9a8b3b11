"""Inception, LPIPS' backbones and DINO with random weights: pytest tests/test_features_networks.py"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from sdstudio import registry
from sdstudio.features import dino, inception, lpips_alex, lpips_vgg, starter_layers
from sdstudio.features.encoding import resized
from sdstudio.features.weights import WeightsMissing
from sdstudio.metrics.perceptual import lpips_between
from sdstudio.schema import Feature, UserError

RECORDS: dict[str, Feature] = dict(registry.load("sdstudio.features"))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return paths


def randomize(network: torch.nn.Module) -> torch.nn.Module:
    """Weights that keep activations of order one and every statistic of a batch norm away from its default."""
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if value.dim() > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "bn.weight")):
            value.uniform_(0.5, 1.5)
        else:
            value.normal_(0, 0.1)
        if name.startswith("lin"):
            value.abs_()
    return network.eval()


def store(network: torch.nn.Module, folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / name)


# ---------------------------------------------------------------- Inception


def reference_inception(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The network written a second time, block by block from its published tables."""

    def conv(x: Tensor, name: str, stride: int = 1, padding: int | tuple[int, int] = 0) -> Tensor:
        x = functional.conv2d(x, weights[f"{name}.conv.weight"], stride=stride, padding=padding)
        statistics = [weights[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *statistics, eps=1e-3).relu()

    def chain(x: Tensor, block: str, *steps: tuple[str, int | tuple[int, int], int]) -> Tensor:
        for name, padding, stride in steps:
            x = conv(x, f"{block}.{name}", stride, padding)
        return x

    def average(x: Tensor) -> Tensor:
        kernel = torch.ones(1, 1, 3, 3)
        flat = x.flatten(0, 1)[:, None]
        near = functional.conv2d(torch.ones_like(flat), kernel, padding=1)
        return (functional.conv2d(flat, kernel, padding=1) / near).unflatten(0, x.shape[:2])[:, :, 0]

    x = (pixels - 128) / 128
    x = conv(conv(conv(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3"), "Conv2d_2b_3x3", 1, 1)
    x = conv(conv(functional.max_pool2d(x, 3, 2), "Conv2d_3b_1x1"), "Conv2d_4a_3x3")
    x = functional.max_pool2d(x, 3, 2)
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        double = chain(x, name, ("branch3x3dbl_1", 0, 1), ("branch3x3dbl_2", 1, 1), ("branch3x3dbl_3", 1, 1))
        five = chain(x, name, ("branch5x5_1", 0, 1), ("branch5x5_2", 2, 1))
        x = torch.cat([conv(x, f"{name}.branch1x1"), five, double, conv(average(x), f"{name}.branch_pool")], 1)
    double = chain(x, "Mixed_6a", ("branch3x3dbl_1", 0, 1), ("branch3x3dbl_2", 1, 1), ("branch3x3dbl_3", 0, 2))
    x = torch.cat([conv(x, "Mixed_6a.branch3x3", 2), double, functional.max_pool2d(x, 3, 2)], 1)
    wide, tall = (0, 3), (3, 0)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        seven = chain(x, name, ("branch7x7_1", 0, 1), ("branch7x7_2", wide, 1), ("branch7x7_3", tall, 1))
        names = [f"branch7x7dbl_{place}" for place in range(1, 6)]
        steps = zip(names, (0, tall, wide, tall, wide), (1,) * 5, strict=True)
        double = chain(x, name, *steps)
        x = torch.cat([conv(x, f"{name}.branch1x1"), seven, double, conv(average(x), f"{name}.branch_pool")], 1)
    three = chain(x, "Mixed_7a", ("branch3x3_1", 0, 1), ("branch3x3_2", 0, 2))
    names = [f"branch7x7x3_{place}" for place in range(1, 5)]
    seven = chain(x, "Mixed_7a", *zip(names, (0, wide, tall, 0), (1, 1, 1, 2), strict=True))
    x = torch.cat([three, seven, functional.max_pool2d(x, 3, 2)], 1)
    for name, pool in (("Mixed_7b", average), ("Mixed_7c", lambda x: functional.max_pool2d(x, 3, 1, 1))):
        three = conv(x, f"{name}.branch3x3_1")
        double = chain(x, name, ("branch3x3dbl_1", 0, 1), ("branch3x3dbl_2", 1, 1))
        forks = [conv(three, f"{name}.branch3x3_2{side}", 1, pad) for side, pad in (("a", (0, 1)), ("b", (1, 0)))]
        forks += [conv(double, f"{name}.branch3x3dbl_3{side}", 1, pad) for side, pad in (("a", (0, 1)), ("b", (1, 0)))]
        x = torch.cat([conv(x, f"{name}.branch1x1"), *forks, conv(pool(x), f"{name}.branch_pool")], 1)
    return x.mean((2, 3))


@pytest.fixture(scope="module")
def network() -> inception.Inception:
    network = randomize(inception.Inception())
    assert isinstance(network, inception.Inception)
    return network


def test_inception_has_the_published_parameters(network: inception.Inception) -> None:
    assert len(network.state_dict()) == 566
    assert sum(value.numel() for value in network.parameters()) == 21_785_568 + 2048 * 1008 + 1008


def test_inception_is_the_network_of_its_tables(network: inception.Inception) -> None:
    pixels = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(1)) * 255
    with torch.inference_mode():
        found, expected = network(pixels), reference_inception(dict(network.state_dict()), pixels)
    assert found.shape == (1, 2048) and found.std() > 0.01
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_inception_looks_through_the_file(network: inception.Inception, files: list[Path], tmp_path: Path) -> None:
    store(network, tmp_path / "weights", inception.FILE.name)
    encoder = inception.load(tmp_path / "weights", "cpu")
    found = encoder.images(files[:2])
    pixels = torch.from_numpy(np.stack([resized(Image.open(file), 299) for file in files[:2]]))
    with torch.inference_mode():
        assert found.pooled == pytest.approx(network(pixels).numpy(), rel=1e-4, abs=1e-5)
    assert found.embedding.shape == (2, 0) and encoder.images([]).pooled.shape == (0, 2048)
    assert encoder.fingerprint[:8] in encoder.label and "299×299" in encoder.preprocessing


# ---------------------------------------------------------------- LPIPS


@pytest.mark.parametrize(
    ("module", "parameters", "dimensions"),
    [(lpips_alex, 2_469_696, 63**2 * 64 + 31**2 * 192 + 15**2 * 896), (lpips_vgg, 14_714_688, 128**2 * 122)],
)
def test_lpips_is_the_squared_distance_of_its_vectors(
    module: object, parameters: int, dimensions: int, files: list[Path], tmp_path: Path
) -> None:
    network = randomize(module.network())
    assert sum(value.numel() for value in network.features.parameters()) == parameters
    store(network, tmp_path / "weights", module.FILE.name)
    vectors = module.load(tmp_path / "weights", "cpu").images(files).pooled
    assert vectors.shape == (3, dimensions)
    pixels = torch.from_numpy(np.stack([resized(Image.open(file), module.SIDE) for file in files]))
    shift, scale = (torch.tensor(values)[:, None, None] for values in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    x, distance, layer = (pixels / 127.5 - 1 - shift) / scale, 0.0, 0
    with torch.inference_mode():
        for place, step in enumerate(network.features):
            x = step(x)
            if place in module.TAPS:
                unit = x / x.norm(dim=1, keepdim=True)
                weights = network.state_dict()[f"lin{layer}.model.1.weight"]
                distance += functional.conv2d((unit[:1] - unit[1:2]) ** 2, weights).mean().item()
                layer += 1
    assert layer == 5
    assert lpips_between(vectors, vectors)[0, 1] == pytest.approx(distance, rel=1e-5)
    assert np.diagonal(lpips_between(vectors, vectors)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("module", "name"), [(lpips_alex, "alex"), (lpips_vgg, "vgg")])
def test_lpips_equals_that_of_torchmetrics(
    module: object, name: str, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its places, scaling, published heads and sums; its backbones need torchvision, so it is given ours."""
    from torchmetrics.functional.image import lpips as theirs

    network = randomize(module.network())
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_, **__: network.features)
    reference = theirs._LPIPS(net=name)
    for place, head in enumerate(reference.lins):
        network.state_dict()[f"lin{place}.model.1.weight"].copy_(head.model[1].weight)
    assert all((weights >= 0).all() for weights in network.heads())
    network.double(), reference.double()
    pixels = torch.from_numpy(np.stack([resized(Image.open(file), 64) for file in files])).double()
    with torch.inference_mode():
        expected = [reference(pixels[:1] / 127.5 - 1, other[None] / 127.5 - 1).item() for other in pixels[1:]]
        vectors = network(pixels).numpy()
    assert lpips_between(vectors[:1], vectors[1:])[0] == pytest.approx(expected, rel=1e-6)


def test_negative_heads_are_refused(tmp_path: Path, files: list[Path]) -> None:
    network = randomize(lpips_alex.network())
    network.state_dict()["lin3.model.1.weight"][0, 0] = -1
    store(network, tmp_path / "weights", lpips_alex.FILE.name)
    with pytest.raises(UserError, match="negative weights"):
        lpips_alex.load(tmp_path / "weights", "cpu").images(files)


def test_the_starters_layers_compare_place_by_place(files: list[Path], tmp_path: Path) -> None:
    encoder = starter_layers.load(tmp_path)
    vectors = encoder.images(files).pooled
    assert (vectors**2).sum(1) == pytest.approx(1, rel=1e-4)
    assert 0 < lpips_between(vectors, vectors)[0, 1] < 4
    mirrored = tmp_path / "mirrored.png"
    Image.open(files[0]).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored)
    assert lpips_between(vectors[:1], encoder.images([mirrored]).pooled).item() > 0.01
    assert encoder.fingerprint != encoder._clip.fingerprint and "starter" in encoder.label


# ---------------------------------------------------------------- DINO


def write_dino(folder: Path, kind: str) -> torch.nn.Module:
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    torch.manual_seed(0)
    model = (
        Dinov2Model(Dinov2Config(**sizes)) if kind == "dinov2" else ViTModel(ViTConfig(**sizes, intermediate_size=32))
    )
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "BitImageProcessor" if kind == "dinov2" else "ViTImageProcessor",
                "do_center_crop": kind == "dinov2",
                "crop_size": {"height": 28, "width": 28},
                "size": {"shortest_edge": 32} if kind == "dinov2" else {"height": 28, "width": 28},
                "resample": 3,
                "image_mean": [0.5] * 3,
                "image_std": [0.25] * 3,
            }
        )
    )
    return model.eval()


@pytest.mark.parametrize(("kind", "label"), [("vit", "DINO (16-d"), ("dinov2", "DINOv2 (16-d")])
def test_dino_is_the_class_token_of_the_stock_model(kind: str, label: str, files: list[Path], tmp_path: Path) -> None:
    model = write_dino(tmp_path / "weights/dino", kind)
    encoder = dino.load(tmp_path / "weights", "cpu")
    assert encoder.label.startswith(label) and "28×28 px" in encoder.preprocessing
    side = 32 if kind == "dinov2" else 28
    cut = (side - 28) // 2
    pictures = [Image.open(file).resize((side, side), Image.Resampling.BICUBIC) for file in files]
    pixels = np.stack(
        [(np.asarray(picture)[cut : cut + 28, cut : cut + 28] / 255 - 0.5) / 0.25 for picture in pictures]
    )
    with torch.inference_mode():
        expected = model(torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32)).last_hidden_state[:, 0]
    assert encoder.images(files).pooled == pytest.approx(expected.numpy(), abs=1e-5)


def test_another_model_in_dinos_place_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "weights/dino"
    write_dino(folder, "vit")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match="preprocessor_config"):
        dino.load(tmp_path / "weights")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="holds a bert, not a DINO"):
        dino.load(tmp_path / "weights")


# ---------------------------------------------------------------- every encoder


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_every_encoder_says_what_it_is(name: str) -> None:
    record = RECORDS[name]
    assert record.name == name and record.label and record.summary.endswith(".") and "arXiv:" in record.paper
    assert callable(record.load) and record.dimensions >= 0


@pytest.mark.parametrize("name", sorted(name for name, record in RECORDS.items() if record.bundled))
def test_bundled_encoders_need_no_weights_and_say_that_they_are_the_starters(
    name: str, files: list[Path], tmp_path: Path
) -> None:
    encoder = RECORDS[name].load(tmp_path / "none", "cpu")
    features = encoder.images(files)
    assert "starter" in encoder.label and len(features.pooled) == len(features.embedding) == 3
    assert features.pooled.dtype == np.float32 and np.isfinite(features.pooled).all()
    assert np.array_equal(encoder.images(files).pooled, features.pooled)


@pytest.mark.parametrize(
    "name", sorted(name for name, record in RECORDS.items() if not record.bundled and name != "clip")
)
def test_missing_weights_say_how_to_get_them_and_nothing_else_is_taken(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(WeightsMissing, match=r"^weights missing, get them by .*(docs/metrics\.md|hf download)"):
        RECORDS[name].load(tmp_path / "weights", "cpu")
    assert not (tmp_path / "weights").exists()


def test_weights_are_pinned_when_first_used(tmp_path: Path, files: list[Path]) -> None:
    folder, name = tmp_path / "weights", lpips_alex.FILE.name
    store(randomize(lpips_alex.network()), folder, name)
    before = lpips_alex.load(folder, "cpu")
    assert (folder / f"{name}.sha256").read_text().split() == [before.fingerprint, name]
    store(lpips_alex.network(), folder, name)
    with pytest.raises(UserError, match="not the file that earlier results were made with"):
        lpips_alex.load(folder, "cpu")
    (folder / f"{name}.sha256").unlink()
    assert lpips_alex.load(folder, "cpu").fingerprint != before.fingerprint


def test_other_networks_under_the_name_are_refused(tmp_path: Path, files: list[Path]) -> None:
    folder = tmp_path / "weights"
    store(randomize(lpips_vgg.network()), folder, lpips_alex.FILE.name)
    with pytest.raises(UserError, match="docs/metrics"):
        lpips_alex.load(folder, "cpu").images(files)
    (folder / inception.FILE.name).write_bytes(b"no safetensors at all")
    with pytest.raises(UserError, match="docs/metrics"):
        inception.load(folder, "cpu").images(files)
