"""Token counts are those of the text encoder's own tokenizer, and the cut is what it does not see."""

import json
import shutil

import pytest

from sdstudio.datasets.tokens import STARTER, load_tokenizer
from sdstudio.schema import UserError

CAPTIONS = [
    "",
    "a red dog",
    "Asim. A man, with  two   dogs' tails!!",
    "naïve 猫 😀 Straße",
    "can't won't I'm",
    "123 4567",
    "<|endoftext|> inside",
    "under_score [slot] (round) \\ / 100%",
]


@pytest.fixture(scope="module")
def clip_files(tmp_path_factory):
    """The starter's tokenizer in the layout of CLIP's first releases, and its limit in a config."""
    folder = tmp_path_factory.mktemp("old") / "tokenizer"
    folder.mkdir()
    model = json.loads((STARTER / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    shutil.copy(STARTER / "tokenizer_config.json", folder)
    return folder


@pytest.mark.parametrize("layout", ["new", "old"])
def test_counts_are_those_of_transformers(layout, clip_files):
    from transformers import CLIPTokenizer

    reference = CLIPTokenizer.from_pretrained(STARTER)
    mine = load_tokenizer(STARTER if layout == "new" else clip_files)
    expected = [len(reference(caption).input_ids) for caption in CAPTIONS]
    assert [mine.measure(caption).count for caption in CAPTIONS] == mine.counts(CAPTIONS) == expected
    assert mine.limit == reference.model_max_length


def test_the_cut_is_what_the_text_encoder_does_not_see():
    from transformers import CLIPTokenizer

    tokenizer, reference = load_tokenizer(), CLIPTokenizer.from_pretrained(STARTER)
    words = [f"dog{number}," if number % 3 else "extraordinarily" for number in range(60)]
    for length in range(1, 61):
        caption = " ".join(words[:length])
        measured = tokenizer.measure(caption)
        kept = caption.removesuffix(measured.cut)
        seen = reference(caption, truncation=True).input_ids[1:-1]
        assert measured.count == len(reference(caption).input_ids)
        assert bool(measured.cut) == (measured.count > measured.limit)
        assert kept + measured.cut == caption
        whole = reference(kept.rstrip()).input_ids[1:-1]
        assert whole == seen[: len(whole)]
        if measured.cut:
            longer = " ".join(caption.split()[: len(kept.split()) + 1])
            assert len(reference(longer).input_ids) > measured.limit


def test_a_diffusers_folder_is_looked_into(clip_files):
    assert load_tokenizer(clip_files.parent) is load_tokenizer(clip_files)
    assert load_tokenizer(clip_files).key != load_tokenizer(STARTER).key


@pytest.mark.parametrize(
    ("config", "limit"), [('{"model_max_length": 40}', 40), ('{"model_max_length": 1e30}', 77), ("{}", 77), (None, 77)]
)
def test_the_limit_is_the_configs(tmp_path, config, limit):
    shutil.copy(STARTER / "tokenizer.json", tmp_path)
    if config:
        (tmp_path / "tokenizer_config.json").write_text(config)
    assert load_tokenizer(tmp_path).limit == limit


def test_a_changed_file_is_noticed(tmp_path):
    shutil.copy(STARTER / "tokenizer.json", tmp_path)
    before = load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 12}')
    assert load_tokenizer(tmp_path).limit == 12
    assert load_tokenizer(tmp_path).key != before.key


def test_no_tokenizer_is_said(tmp_path):
    with pytest.raises(UserError, match="no CLIP tokenizer"):
        load_tokenizer(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_tokenizer(tmp_path)
