"""The frozen encoder and its cache, on the bundled CLIP."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel

from sdstudio import registry
from sdstudio.features.cache import CachedEncoder
from sdstudio.features.clip import ClipEncoder, load
from sdstudio.features.memory import all_finite, rows
from sdstudio.models import STARTER
from sdstudio.schema import UserError


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    return load("starter", "cpu")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    return paths


def refuse(*_: object) -> None:
    raise AssertionError("the encoder was asked again")


def test_the_starter_says_so_in_its_label(encoder: ClipEncoder) -> None:
    assert encoder.label == f"starter CLIP ({encoder.dimensions}-d)"
    assert "CLIPImageProcessorPil" in encoder.preprocessing and "64×64" in encoder.preprocessing
    assert registry.load("sdstudio.features")["starter"].dimensions == encoder.dimensions


def test_features_are_those_of_the_stock_model(encoder: ClipEncoder, files: list[Path]) -> None:
    """The reference: transformers' own forward pass, with the picture normalised by hand."""
    model = CLIPModel.from_pretrained(STARTER / "clip", dtype=torch.float32).eval()
    mean, std = (np.array(getattr(encoder._processor, name)) for name in ("image_mean", "image_std"))
    pixels = np.stack([(np.asarray(Image.open(file)) / 255 - mean) / std for file in files]).transpose(0, 3, 1, 2)
    text = encoder._tokenizer(["a red car", "a cat"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        pixel_values = torch.tensor(pixels, dtype=torch.float32)
        output = model(input_ids=text["input_ids"], attention_mask=text["attention_mask"], pixel_values=pixel_values)
    found = encoder.images(files)
    with torch.inference_mode():
        projected = model.visual_projection(torch.tensor(found.pooled))
    projected = projected / projected.norm(dim=-1, keepdim=True)
    assert projected.numpy() == pytest.approx(output.image_embeds.numpy(), abs=1e-5)
    assert found.embedding == pytest.approx(output.image_embeds.numpy(), abs=1e-5)
    assert encoder.texts(["a red car", "a cat"]) == pytest.approx(output.text_embeds.numpy(), abs=1e-5)


def test_long_texts_are_cut_and_named(encoder: ClipEncoder) -> None:
    long = "a cat " * 60
    assert encoder.truncated(["a cat", long]) == [long]
    assert encoder.texts([long]) == pytest.approx(encoder.texts([long + " and a dog"]), abs=1e-6)


def test_a_second_look_spends_no_time_in_the_encoder(
    encoder: ClipEncoder, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = CachedEncoder(encoder, tmp_path / "cache")
    images, texts = cached.images(files), cached.texts(["a cat", "a dog"])
    copy = tmp_path / "under-another-name.png"
    shutil.copy(files[3], copy)
    monkeypatch.setattr(ClipEncoder, "images", refuse)
    monkeypatch.setattr(ClipEncoder, "texts", refuse)
    again = cached.images([copy, *files])
    assert np.array_equal(again.pooled, images.pooled[[3, 0, 1, 2, 3, 4]])
    assert np.array_equal(again.embedding, images.embedding[[3, 0, 1, 2, 3, 4]])
    assert np.array_equal(cached.texts(["a dog", "a cat"]), texts[[1, 0]])


def test_an_edited_picture_and_another_encoder_are_not_taken_for_known(
    encoder: ClipEncoder, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = CachedEncoder(encoder, tmp_path / "cache")
    before = cached.images(files[:1])
    Image.new("RGB", (64, 64), "green").save(files[0])
    assert not np.allclose(cached.images(files[:1]).pooled, before.pooled)
    other = CachedEncoder(load("starter", "cpu"), tmp_path / "cache")
    other.encoder.__dict__["fingerprint"] = "another"
    monkeypatch.setattr(ClipEncoder, "images", refuse)
    with pytest.raises(AssertionError):
        other.images(files[:1])


def test_a_damaged_entry_is_made_again(encoder: ClipEncoder, files: list[Path], tmp_path: Path) -> None:
    cached = CachedEncoder(encoder, tmp_path / "cache")
    before = cached.images(files)
    for entry in (tmp_path / "cache").rglob("*.safetensors"):
        entry.write_bytes(entry.read_bytes()[:20])
    assert np.array_equal(cached.images(files).pooled, before.pooled)


def test_many_writers_at_once_leave_whole_entries(encoder: ClipEncoder, files: list[Path], tmp_path: Path) -> None:
    cached = CachedEncoder(encoder, tmp_path / "cache")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cached.images(files).pooled, range(8)))
    assert all(np.allclose(one, found[0], atol=1e-5) for one in found)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == len(files)
    assert not list((tmp_path / "cache").rglob(".*"))


def test_wrong_models_and_pictures_are_one_sentence(
    encoder: ClipEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "clip").mkdir()
    shutil.copy(STARTER / "clip/config.json", tmp_path / "clip")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="is not a CLIP model"):
        load(str(STARTER / "blip"))
    with pytest.raises(UserError, match=r"no model\.safetensors"):
        load(str(tmp_path / "clip"))
    with pytest.raises(UserError, match="could not be fetched"):
        load("nobody/such-a-clip")
    with pytest.raises(UserError, match=r"broken\.png cannot be read"):
        encoder.images([tmp_path / "broken.png"])


def test_features_larger_than_memory_lie_in_a_file(
    encoder: ClipEncoder, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = CachedEncoder(encoder, tmp_path / "cache")
    before = cached.images(files)
    monkeypatch.setattr("sdstudio.features.memory.LIMIT", 1000)
    after = cached.images(files)
    assert isinstance(after.pooled, np.memmap) and not isinstance(before.pooled, np.memmap)
    assert np.array_equal(after.pooled, before.pooled) and np.array_equal(after.embedding, before.embedding)
    taken = rows(after.pooled, [3, 1, 2])
    assert isinstance(taken, np.memmap) and np.array_equal(taken, before.pooled[[3, 1, 2]])
    taken[1, 5] = np.nan
    assert all_finite(after.pooled) and not all_finite(taken)
