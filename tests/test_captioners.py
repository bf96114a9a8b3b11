"""Every captioner keeps the contract; BLIP reads the bundled model and the Hub's layout, as do image-text models."""

import dataclasses
import shutil
import subprocess
import sys
import time

import pytest
from PIL import Image
from tiny_captioners import CHAT_WORDS, make_blip, make_llava

from sdstudio import registry
from sdstudio.captioners import blip, image_text
from sdstudio.captioners.blip import BlipOptions, generate_arguments
from sdstudio.captioners.drafting import dress
from sdstudio.captioners.image_text import ImageTextOptions
from sdstudio.schema import UserError, from_json, to_json

PICTURES = [Image.new("RGB", (50, 40), "red"), Image.new("RGB", (40, 60), "navy")]


@pytest.fixture(scope="module")
def hub_model(tmp_path_factory):
    return make_blip(tmp_path_factory.mktemp("hub") / "blip")


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    return make_llava(tmp_path_factory.mktemp("hub") / "llava")


# ---------------------------------------------------------------- the contract of every captioner


@pytest.mark.parametrize("name", registry.load("sdstudio.captioners"))
def test_every_captioner_fills_its_record(name):
    record = registry.load("sdstudio.captioners")[name]
    assert record.label
    assert record.summary.endswith(".")
    assert record.paper.startswith("https://")
    options = record.Options()
    assert isinstance(options.model, str)
    assert options.batch_size >= 1
    assert from_json(record.Options, to_json(options)) == options
    for field in dataclasses.fields(options):
        assert field.metadata["help"].endswith("."), field.name
    with pytest.raises(UserError, match="unknown key 'no_such'"):
        from_json(record.Options, {"no_such": 1})


def test_listing_captioners_does_not_load_torch():
    code = "import sys, sdstudio.registry as r; r.load('sdstudio.captioners'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- BLIP


def test_the_bundled_model_words_a_picture():
    caption = blip.load(BlipOptions(prefix="asim,", suffix=", cartoon"), "starter", "cpu")
    drafts = caption(PICTURES)
    assert len(drafts) == 2
    for draft in drafts:
        assert draft.startswith("asim, ")
        assert draft.endswith(", cartoon")
        assert len(draft.split()) > 4
        assert "[" not in draft  # no special tokens
    assert caption(PICTURES) == drafts


def test_a_model_from_the_hubs_layout(hub_model):
    import torch

    caption = blip.load(BlipOptions(num_beams=2, min_length=6, max_length=12), str(hub_model), "cpu")
    short = caption(PICTURES)
    assert all(0 < len(draft.split()) <= 12 for draft in short)
    sampled = blip.load(BlipOptions(sampling="nucleus", min_length=12, max_length=24), str(hub_model), "cpu")
    torch.manual_seed(0)
    first, second = sampled(PICTURES), sampled(PICTURES)
    assert first != second


def test_lengths_are_held(hub_model):
    def tokens(**settings):
        caption = blip.load(BlipOptions(num_beams=1, **settings), str(hub_model), "cpu")
        return [len(draft.split()) for draft in caption(PICTURES)]

    assert all(count <= 5 for count in tokens(max_length=5))
    assert all(count <= 24 for count in tokens(max_length=512))  # the model has 24 positions
    with pytest.raises(UserError, match="min_length is 30, more than the 24 tokens"):
        tokens(min_length=30)


def test_options_become_arguments():
    beam = generate_arguments(BlipOptions(num_beams=5, min_length=30, repetition_penalty=1.4), 48)
    assert beam == dict(num_beams=5, do_sample=False, min_length=30, max_length=48, repetition_penalty=1.4)
    nucleus = generate_arguments(BlipOptions(sampling="nucleus", num_beams=5), 48)
    assert nucleus == dict(num_beams=1, do_sample=True, top_p=0.9, min_length=0, max_length=48, repetition_penalty=1.0)


@pytest.mark.parametrize(
    ("draft", "prefix", "suffix", "caption"),
    [
        ("a cat", "", "", "a cat"),
        ("a cat", "asim", "in cartoon style", "asim a cat in cartoon style"),
        ("a cat", " asim, ", ", cartoon", "asim, a cat, cartoon"),
        ("", "asim", "", "asim"),
        ("", "", "style", "style"),
    ],
)
def test_prefix_and_suffix(draft, prefix, suffix, caption):
    assert dress(draft, prefix, suffix) == caption


def test_wrong_models_are_said(hub_model, tmp_path):
    with pytest.raises(UserError, match="no model folder"):
        blip.load(BlipOptions(), str(tmp_path / "nowhere"), "cpu")
    with pytest.raises(UserError, match="is not a BLIP captioning model"):
        blip.load(BlipOptions(), str(blip.STARTER.parent / "clip"), "cpu")
    pickled = shutil.copytree(hub_model, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        blip.load(BlipOptions(), str(pickled), "cpu")


@pytest.mark.parametrize("name", registry.load("sdstudio.captioners"))
def test_a_hub_model_without_a_network_is_said_within_seconds(name, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    import transformers  # noqa: F401  (the time to import it is not the network's)

    record = registry.load("sdstudio.captioners")[name]
    began = time.monotonic()
    with pytest.raises(UserError, match=r"The Hub .* is not in reach; check the network and try again"):
        record.load(record.Options(), "nobody/nothing", "cpu")
    assert time.monotonic() - began < 8


def test_a_hub_model_in_the_cache_needs_no_network(hub_model, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--ann--blip"
    shutil.copytree(hub_model, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert len(blip.load(BlipOptions(max_length=4), "ann/blip", "cpu")(PICTURES)) == 2


def test_a_model_without_all_weights_is_refused_not_made_up(hub_model, tmp_path):
    from safetensors.torch import load_file, save_file

    partial = shutil.copytree(hub_model, tmp_path / "partial")
    weights = load_file(partial / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("text_decoder")}
    save_file(kept, partial / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks weights"):
        blip.load(BlipOptions(), str(partial), "cpu")


# ---------------------------------------------------------------- any image-text model


def test_a_llava_answers_the_prompt_and_does_not_repeat_it(llava):
    options = ImageTextOptions(num_beams=1, min_length=5, max_length=9, prefix="asim,", prompt="a photo of")
    drafts = image_text.load(options, str(llava), "cpu")(PICTURES)
    assert len(drafts) == 2
    for draft in drafts:
        assert draft.startswith("asim, ")
        assert 5 <= len(draft.split()) - 1 <= 9
        assert set(draft.split()[1:]) <= set(CHAT_WORDS[5:])  # no special tokens
    one_by_one = image_text.load(options, str(llava), "cpu")
    assert [one_by_one([picture])[0] for picture in PICTURES] == drafts


def test_the_prompt_reaches_the_model_in_its_chat_template(llava):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(llava)
    inputs = image_text.ask(processor, "a photo of", PICTURES)
    for asked in processor.batch_decode(inputs["input_ids"]):
        assert asked.replace("<image>", "").split() == ["USER:", "a", "photo", "of", "ASSISTANT:"]
        assert asked.count("<image>") == 4  # 2 x 2 patches
    processor.chat_template = None
    inputs = image_text.ask(processor, "a photo of", PICTURES)
    for asked in processor.batch_decode(inputs["input_ids"]):
        assert asked.replace("<image>", "").split() == ["a", "photo", "of"]
        assert asked.count("<image>") == 4
    inputs = image_text.ask(processor, "a <image> photo of", PICTURES)
    assert processor.batch_decode(inputs["input_ids"])[0].split()[0] == "a"


def test_a_model_of_another_class_needs_no_other_code():
    drafts = image_text.load(ImageTextOptions(prompt="", num_beams=1), str(blip.STARTER), "cpu")(PICTURES)
    assert all(len(draft.split()) > 4 for draft in drafts)


def test_wrong_image_text_models_are_said(llava, tmp_path):
    with pytest.raises(UserError, match="cannot be loaded as an image-text model"):
        image_text.load(ImageTextOptions(), str(blip.STARTER.parent / "clip"), "cpu")
    with pytest.raises(UserError, match="min_length is 30, more than the 20 tokens"):
        image_text.load(ImageTextOptions(min_length=30, max_length=20), str(llava), "cpu")
    pickled = shutil.copytree(llava, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        image_text.load(ImageTextOptions(), str(pickled), "cpu")
