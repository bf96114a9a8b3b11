"""Every captioner keeps the contract; BLIP reads the bundled model and the Hub's layout; the job drafts and reports."""

import dataclasses
import io
import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from sdstudio import registry
from sdstudio.captioners import blip
from sdstudio.captioners.blip import BlipOptions, dress, generate_arguments
from sdstudio.datasets import create_dataset
from sdstudio.datasets.captioning import run_caption
from sdstudio.jobs.context import JobContext
from sdstudio.schema import CaptionConfig, UserError, from_json, to_json
from sdstudio.workspace import Workspace, read_json

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "cat", "dog", "red", "blue", "a", "photo", "of", "##s"]
PICTURES = [Image.new("RGB", (50, 40), "red"), Image.new("RGB", (40, 60), "navy")]


@pytest.fixture(scope="module")
def hub_model(tmp_path_factory):
    """A small random BLIP in the layout of Salesforce/blip-image-captioning-base (preprocessor_config.json)."""
    import torch
    from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil

    folder = tmp_path_factory.mktemp("hub") / "blip"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    text = dict(
        vocab_size=len(WORDS),
        hidden_size=16,
        encoder_hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=WORDS.index("[DEC]"),
        sep_token_id=WORDS.index("[SEP]"),
        pad_token_id=0,
    )
    vision = dict(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    torch.manual_seed(0)
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    assert (folder / "preprocessor_config.json").exists()
    assert (folder / "model.safetensors").exists()
    return folder


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


def test_wrong_models_are_said(hub_model, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="'nobody/nothing' cannot be loaded"):
        blip.load(BlipOptions(), "nobody/nothing", "cpu")
    with pytest.raises(UserError, match="cannot be loaded"):
        blip.load(BlipOptions(), str(tmp_path / "nowhere"), "cpu")
    with pytest.raises(UserError, match="is not a BLIP captioning model"):
        blip.load(BlipOptions(), str(blip.STARTER.parent / "clip"), "cpu")
    pickled = shutil.copytree(hub_model, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        blip.load(BlipOptions(), str(pickled), "cpu")


def test_a_model_without_all_weights_is_refused_not_made_up(hub_model, tmp_path):
    from safetensors.torch import load_file, save_file

    partial = shutil.copytree(hub_model, tmp_path / "partial")
    weights = load_file(partial / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("text_decoder")}
    save_file(kept, partial / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks weights"):
        blip.load(BlipOptions(), str(partial), "cpu")


# ---------------------------------------------------------------- the job


@pytest.fixture
def ws(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def ctx(ws):
    folder = ws.root / "tasks" / "drafts"
    folder.mkdir(parents=True)
    return JobContext(ws, folder)


@pytest.fixture
def store(ws):
    store = create_dataset(ws, "set")
    for index, colour in enumerate(("red", "green", "blue", "white", "black")):
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
        store.add(buffer.getvalue(), f"{index}.png")
    return store


def config(hub_model, **settings):
    options = {"model": str(hub_model), "num_beams": 1, "min_length": 4, "max_length": 8, "batch_size": 2}
    return CaptionConfig(dataset="set", options=options, **settings)


def report_of(ctx):
    return read_json(ctx.folder / "report.json")


def test_the_job_drafts_every_picture_and_spares_people(store, ctx, hub_model):
    first, second, third, *_ = store.images()
    store.set_caption(first.id, "mine", "person:ann", first.version)
    store.set_caption(second.id, "", "person:ann", second.version)
    store.set_machine_caption(third.id, "an older draft", "captioner:other")
    run_caption(config(hub_model), ctx)
    images = store.images()
    assert [image.caption for image in images[:3]] == ["mine", "", "an older draft"]
    assert (images[0].machine_caption, images[2].machine_caption) == ("", "an older draft")
    assert images[1].machine_caption
    assert all(image.source == "captioner:blip" and image.caption for image in images[3:])
    report = report_of(ctx)
    assert (report["total"], report["drafted"], report["kept_beside"], report["failed"]) == (3, 2, 1, [])
    assert read_json(ctx.folder / "progress.json")["done"] == 3

    run_caption(config(hub_model, only_empty=False), ctx)
    images = store.images()
    assert [image.caption for image in images[:2]] == ["mine", ""]
    assert images[0].machine_caption
    assert images[2].caption != "an older draft"
    assert store.undo(third.id).caption == "an older draft"


def test_a_broken_picture_is_a_line_of_the_report(store, ctx, hub_model):
    broken, missing, *rest = store.images()
    store.image_path(broken.id).write_bytes(store.image_path(broken.id).read_bytes()[:30])
    store.image_path(missing.id).unlink()
    run_caption(config(hub_model), ctx)
    assert [line["file_name"] for line in report_of(ctx)["failed"]] == ["0.png", "1.png"]
    assert all(line["error"] for line in report_of(ctx)["failed"])
    assert report_of(ctx)["drafted"] == 3
    assert all(store.image(image.id).caption for image in rest)


def test_a_stop_keeps_the_drafts_so_far_and_the_next_run_goes_on(store, ctx, hub_model, monkeypatch):
    asked = iter([False, True])
    monkeypatch.setattr(JobContext, "should_stop", lambda self: next(asked, False))
    run_caption(config(hub_model), ctx)
    assert (report_of(ctx)["drafted"], report_of(ctx)["stopped"]) == (2, True)
    assert sum(bool(image.caption) for image in store.images()) == 2
    run_caption(config(hub_model), ctx)
    assert (report_of(ctx)["total"], report_of(ctx)["drafted"], report_of(ctx)["stopped"]) == (3, 3, False)


def test_nothing_to_do_is_no_error(store, ctx, hub_model):
    for image in store.images():
        store.set_caption(image.id, "mine", "person:ann", image.version)
    run_caption(CaptionConfig(dataset="set", options={"model": "never/loaded"}), ctx)
    assert report_of(ctx)["total"] == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dataset": "nowhere"}, "no dataset 'nowhere'"),
        ({"dataset": "empty"}, "'empty' has no pictures to caption"),
        ({"dataset": "set", "captioner": "parrot"}, "no captioner 'parrot'; choose one of blip"),
        ({"dataset": "set", "options": {"beams": 3}}, "unknown key 'beams'"),
        ({"dataset": "set", "options": {"num_beams": 0}}, "num_beams is 0, the least is 1"),
    ],
)
def test_wrong_jobs_are_said(ws, store, ctx, settings, said):
    create_dataset(ws, "empty")
    with pytest.raises(UserError, match=said):
        run_caption(CaptionConfig(**settings), ctx)


def test_all_pictures_broken_is_an_error_with_a_report(store, ctx, hub_model):
    for image in store.images():
        store.image_path(image.id).unlink()
    with pytest.raises(UserError, match="None of the 5 pictures"):
        run_caption(config(hub_model), ctx)
    assert len(report_of(ctx)["failed"]) == 5
    assert json.dumps(report_of(ctx))
