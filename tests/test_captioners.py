"""Every captioner keeps the contract; BLIP reads the bundled model and the Hub's layout; the job drafts and reports."""

import dataclasses
import io
import json
import shutil
import subprocess
import sys
import time

import pytest
from PIL import Image

from sdstudio import registry
from sdstudio.captioners import blip, image_text
from sdstudio.captioners.blip import BlipOptions, generate_arguments
from sdstudio.captioners.drafting import dress
from sdstudio.captioners.image_text import ImageTextOptions
from sdstudio.datasets import create_dataset
from sdstudio.datasets.captioning import run_caption
from sdstudio.datasets.trying import read_tries, run_try, try_captions
from sdstudio.jobs.context import JobContext
from sdstudio.schema import CaptionConfig, CaptionSetting, TryCaptionsConfig, UserError, from_json, to_json
from sdstudio.workspace import Workspace, read_json

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "cat", "dog", "red", "blue", "a", "photo", "of", "##s"]
CHAT_WORDS = ["[PAD]", "[UNK]", "<s>", "</s>", "<image>", "USER:", "ASSISTANT:", *WORDS[6:]]
CHAT_TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
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


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    """A small random LLaVA, saved as the Hub's are: CLIP tower, Llama, processor with a chat template."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("hub") / "llava"
    vocabulary = {word: index for index, word in enumerate(CHAT_WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    side = {"height": 32, "width": 32}
    hf.LlavaProcessor(
        hf.CLIPImageProcessorPil(size=side, crop_size=side),
        tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    small = dict(hidden_size=16, intermediate_size=32, num_attention_heads=2)
    vision = hf.CLIPVisionConfig(**small, num_hidden_layers=2, image_size=32, patch_size=16, projection_dim=16)
    text = hf.LlamaConfig(
        **small, vocab_size=len(CHAT_WORDS), num_hidden_layers=1, num_key_value_heads=2, max_position_embeddings=256,
        bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(1)
    config = hf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=vocabulary["<image>"])
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    return folder


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
        ({"dataset": "set", "captioner": "parrot"}, "no captioner named 'parrot'; choose one of blip, image-text"),
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


# ---------------------------------------------------------------- memory, and what breaks inside a model


class Hungry:
    """A captioner with room for two pictures: more of them, or one that is black, is too much for its memory."""

    def __init__(self):
        self.asked = []

    def __call__(self, pictures):
        self.asked.append(len(pictures))
        if len(pictures) > 2 or any(picture.getpixel((0, 0)) == (0, 0, 0) for picture in pictures):
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory")
        return ["a draft"] * len(pictures)


@pytest.fixture
def hungry(monkeypatch):
    caption = Hungry()
    record = dataclasses.replace(blip.RECORD, load=lambda options, model, device: caption)
    monkeypatch.setattr("sdstudio.datasets.captioning.find_captioner", lambda name: record)
    return caption


def test_batches_become_smaller_where_memory_is_short(store, ctx, hungry, capsys):
    black = store.images()[-1]
    store.set_caption(black.id, "mine", "person:ann", black.version)
    run_caption(CaptionConfig(dataset="set", options={"batch_size": 3}), ctx)
    assert hungry.asked == [3, 2, 1, 1]
    assert (report_of(ctx)["drafted"], report_of(ctx)["error"]) == (4, "")
    assert "memory is short: 2 pictures at once from here on" in capsys.readouterr().out


def test_what_does_not_fit_even_alone_ends_the_job_with_what_was_kept(store, ctx, hungry):
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        run_caption(CaptionConfig(dataset="set", options={"batch_size": 5}), ctx)
    report = report_of(ctx)
    assert (report["drafted"], report["total"]) == (4, 5)
    assert "can't allocate memory" in report["error"]
    assert sum(image.caption == "a draft" for image in store.images()) == 4


def test_another_trouble_is_not_taken_for_memory(store, ctx, hungry):
    hungry.__class__ = type("Broken", (Hungry,), {"__call__": lambda self, pictures: 1 / 0})
    with pytest.raises(ZeroDivisionError):
        run_caption(CaptionConfig(dataset="set", options={"batch_size": 5}), ctx)
    assert report_of(ctx)["error"] == "division by zero"


# ---------------------------------------------------------------- trying


def test_settings_are_tried_side_by_side_and_nothing_is_stored(ws, store, ctx, hub_model, llava):
    ids = [image.id for image in store.images()[:2]]
    before = store.images()
    small = {"num_beams": 1, "min_length": 3, "max_length": 6}
    config = TryCaptionsConfig(
        dataset="set",
        ids=ids,
        settings=[
            CaptionSetting(captioner="blip", options={**small, "model": str(hub_model), "prefix": "one"}),
            CaptionSetting(captioner="blip", options={"model": str(hub_model / "nowhere")}),
            CaptionSetting(captioner="image-text", options={**small, "model": str(llava), "prefix": "three"}),
        ],
    )
    run_try(config, ctx)
    rows = read_tries(ctx.folder)
    assert [(row.setting, row.id) for row in rows] == [(number, id) for number in range(3) for id in ids]
    for row in rows:
        if row.setting == 1:
            assert "no model folder" in row.error
        else:
            assert row.caption.startswith(("one ", "three ")[row.setting // 2])
            assert row.seconds > 0
    assert store.images() == before
    progress = read_json(ctx.folder / "progress.json")
    assert (progress["done"], progress["total"]) == (6, 6)
    again = try_captions(ws, "set", ids, [("blip", {**small, "model": str(hub_model), "prefix": "one"})])
    assert [row.caption for row in again] == [row.caption for row in rows[:2]]


def test_a_broken_picture_or_model_is_said_in_its_own_cell(ws, store, hungry, monkeypatch):
    monkeypatch.setattr(
        "sdstudio.datasets.trying.find_captioner", lambda name: dataclasses.replace(blip.RECORD, load=lambda *_: hungry)
    )
    images = store.images()
    store.image_path(images[0].id).write_bytes(b"no picture")
    rows = try_captions(ws, "set", [images[0].id, images[1].id, images[4].id], [("blip", {})])
    assert [bool(row.error) for row in rows] == [True, False, True]
    assert "can't allocate memory" in rows[2].error


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ids": [], "settings": [("blip", {})]}, "nothing to try"),
        ({"ids": ["first"], "settings": []}, "nothing to try"),
        ({"ids": ["0" * 64], "settings": [("blip", {})]}, "has no picture"),
        ({"ids": ["first"], "settings": [("parrot", {})]}, "no captioner 'parrot'"),
        ({"ids": ["first"], "settings": [("blip", {"beams": 3})]}, "unknown key 'beams'"),
    ],
)
def test_wrong_tries_are_said(ws, store, settings, said):
    ids = [store.images()[0].id if id == "first" else id for id in settings["ids"]]
    with pytest.raises(UserError, match=said):
        try_captions(ws, "set", ids, settings["settings"])
