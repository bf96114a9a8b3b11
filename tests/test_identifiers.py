"""Identifiers: rare words of one token that mean nothing yet; and the recipes to begin from.

pytest tests/test_identifiers.py
"""

import json
from pathlib import Path

import pytest

from sdstudio import registry
from sdstudio.cli import main
from sdstudio.schema import TrainConfig, UserError, from_json
from sdstudio.training.identifiers import COMMON, check_identifier, rare_tokens
from sdstudio.training.presets import PRESETS
from sdstudio.training.readiness import local_folder, pieces, tokenizer_of
from sdstudio.workspace import Workspace

MADE_UP = {"asim", "sks", "ohwx", "zwx", "krv", "vtn", "phlo", "qbr", "mxl", "gnar"}
"""Words that the starter's tokenizer knows and its text encoder was never taught."""


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def test_rare_words_are_single_tokens_ranked_by_rarity_and_no_common_words(ws: Workspace) -> None:
    found = rare_tokens(ws, "starter", count=60, longest=3, ask_encoder=False)
    tokenizer = tokenizer_of(local_folder(ws, "starter"))
    assert tokenizer is not None
    assert all(pieces(tokenizer, token.word) == [token.word] for token in found)
    assert all(len(token.word) <= 3 and token.word.isalpha() for token in found)
    assert [token.rank for token in found] == sorted((token.rank for token in found), reverse=True)
    assert not {token.word for token in found} & set(COMMON)
    assert len(rare_tokens(ws, "starter", count=5, ask_encoder=False)) == 5


def test_words_that_mean_something_are_left_out(ws: Workspace) -> None:
    everything = {token.word for token in rare_tokens(ws, "starter", count=10_000, longest=6, ask_encoder=False)}
    kept = rare_tokens(ws, "starter", count=10_000, longest=6)
    words = {token.word for token in kept}
    assert {"tiger", "ugly"} <= everything and not {"tiger", "ugly"} & words
    share_of_made_up = len(words & MADE_UP) / len(everything & MADE_UP)
    share_of_others = len(words - MADE_UP) / len(everything - MADE_UP)
    assert share_of_made_up > 2 * share_of_others
    assert all(token.nearest in COMMON and -1 <= token.similarity < 1 for token in kept)


def test_a_chosen_word_is_checked(ws: Workspace) -> None:
    check_identifier(ws, "starter", " asim ")
    with pytest.raises(UserError, match=r"'zl635' is 5 tokens to this model \(z, l, 6, 3, 5\)"):
        check_identifier(ws, "starter", "zl635")
    with pytest.raises(UserError, match="is not on this machine"):
        check_identifier(ws, "nobody/nothing", "asim")


def test_the_command_lists_and_checks(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--workspace", str(ws.root)]
    assert main(["identifiers", "--count", "3", "--json", *place]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["identifiers", "asim", *place]) == 0
    assert "One token each: asim" in capsys.readouterr().out
    assert main(["identifiers", "zl635", *place]) == 2
    assert "5 tokens" in capsys.readouterr().err


def test_every_preset_is_a_whole_config_and_names_its_source() -> None:
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)
    for preset in PRESETS:
        config = from_json(TrainConfig, preset.config)
        from_json(registry.load("sdstudio.methods")[preset.method].Options, config.method_options)
        assert preset.source and preset.summary and preset.label
    recipes = {preset.name: preset for preset in PRESETS}
    assert recipes["sam"].loop["checkpoint_at"] == [5, 30, 60, 70, 80] and recipes["sam"].loop["epochs"] == 80
    faces = recipes["faces"]
    assert (faces.loop["steps_per_instance"], faces.method_options["learning_rate"]) == (500, 2e-6)
    stages = recipes["two-stage-1"], recipes["two-stage-2"]
    assert [stage.loop["epochs"] for stage in stages] == [30, 10]
    assert {stage.method_options["learning_rate"] for stage in stages} == {1e-6}
    assert all(stage.loop["crop_jitter"] for stage in stages)
    logo = [recipes[f"logo-{name}"].method_options for name in ("dreambooth", "lora", "textual-inversion")]
    assert [options["learning_rate"] for options in logo] == [2e-5, 5e-6, 1e-3]
    assert (logo[1]["rank"], logo[1]["text_encoder_learning_rate"]) == (16, 1e-4)
