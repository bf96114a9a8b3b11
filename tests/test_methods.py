"""The contract of every method: what it promises to train moves, nothing else does, and it survives save and load.

pytest tests/test_methods.py     all combinations with families: pytest -m "slow or not slow" tests/test_methods.py
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tiny_models import KINDS, build

from sdstudio import registry
from sdstudio.engine.pipeline import family_of, find_method
from sdstudio.families.loading import PictureSize
from sdstudio.methods import lora, sam
from sdstudio.methods.parts import Trainable, named_parameters
from sdstudio.schema import Family, Method, UserError, from_json, to_json

METHODS = registry.load("sdstudio.methods")
WORD = "<asim>"
PROMPT = f"{WORD} a toy"
_ATTENTION = r"\.attn[12]\.to_(q|k|v|out\.0)\."
_FEED_FORWARD = r"|\.ff\.net\.(0\.proj|2)\."
_TEXT_ATTENTION = r"|^text_encoder.*\.(q|k|v|out)_proj\."
_LAYERS = r"^(up_blocks\.1\.resnets\.1|conv_norm_out|conv_out)\."


@dataclass(frozen=True)
class Case:
    """A method with options; `trains` finds the names of exactly those layers that should learn.

    A method without a case of its own is held to what its `prepare` says.
    """

    method: str
    options: Mapping[str, Any]
    trains: str | None = None

    def __str__(self) -> str:
        return " ".join([self.method, *(f"{name}={value}" for name, value in self.options.items())])


PLAIN = [
    Case("full", {}, r"^(?!text_encoder)"),
    Case("lora", {}, _ATTENTION + _FEED_FORWARD),
    Case("dreambooth", {}, r"^(?!text_encoder)"),
    Case("textual_inversion", {}, r"^text_encoder(_2)?\.learned$"),
    Case("dreambooth_lora", {}, _ATTENTION + _FEED_FORWARD),
    Case("sam", {}, rf"\.attn2\.to_|{_LAYERS}"),
]
VARIANTS = [
    Case("full", {"text_encoder": True}, ""),
    Case("dreambooth", {"text_encoder": True}, ""),
    Case("lora", {"text_encoder": True}, _ATTENTION + _FEED_FORWARD + _TEXT_ATTENTION),
    Case("lora", {"dora": True, "text_encoder": True}, _ATTENTION + _FEED_FORWARD + _TEXT_ATTENTION),
    Case("lora", {"targets": "cross-attention", "rank": 2, "alpha": 8.0}, r"\.attn2\.to_"),
    Case("lora", {"targets": "attention", "dropout": 0.2}, _ATTENTION),
    Case(
        "lora",
        {"targets": "attention, feed-forward and convolution"},
        _ATTENTION + _FEED_FORWARD + r"|\.(conv1|conv2|conv_shortcut|(down|up)samplers\.0\.conv)\.",
    ),
    Case("dreambooth_lora", {"text_encoder": True}, _ATTENTION + _FEED_FORWARD + _TEXT_ATTENTION),
    Case("textual_inversion", {"vectors": 1}, r"^text_encoder(_2)?\.learned$"),
    Case("sam", {"rank": 0}, _LAYERS),
    Case("sam", {"unfreeze": False}, r"\.attn2\.to_"),
    Case("sam", {"layers": ["up_blocks.1", "conv_out"]}, r"\.attn2\.to_|^(up_blocks\.1|conv_out)\."),
]
OTHERS = [Case(name, {}) for name in METHODS if name not in {case.method for case in PLAIN}]
CASES = [*PLAIN, *VARIANTS, *OTHERS]
QUICK = {(str(case), KINDS[place % 3]) for place, case in enumerate(CASES)}
COMBINATIONS = [
    pytest.param(case, kind, id=f"{kind} {case}", marks=() if (str(case), kind) in QUICK else pytest.mark.slow)
    for case in CASES
    for kind in KINDS
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        build(kind, root / kind)
    return root


def load(tiny: Path, kind: str) -> Any:
    return family_of(tiny / kind).load(tiny / kind)


def options_of(method: Method, values: Mapping[str, Any]) -> Any:
    """The options as the loop hands them over: the trigger found."""
    return replace(from_json(method.Options, dict(values)), trigger=WORD)


def plain(name: str) -> str:
    return name.replace(".base_layer.", ".")


def state(pipeline: Any) -> dict[str, torch.Tensor]:
    """Every tensor of every component, the methods' own additions left out."""
    modules = {key: value for key, value in pipeline.components.items() if isinstance(value, torch.nn.Module)}
    return {
        f"{key}.{plain(name)}": value.detach().clone()
        for key, module in modules.items()
        for name, value in module.state_dict().items()
        if "lora_" not in name and not name.endswith(".learned")
    }


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The names of tensors that differ; rows that a new word added to an embedding do not count."""
    assert before.keys() == after.keys()
    return {
        name.removeprefix("unet.") for name in before if not torch.equal(before[name], after[name][: len(before[name])])
    }


def predict(pipeline: Any, family: Family, prompt: str = PROMPT) -> torch.Tensor:
    """The U-Net's answer to noise and a prompt, with gradients wherever they flow."""
    inputs = family.unet_inputs(family.encode_prompts(pipeline, [prompt]), [PictureSize((16, 16), (0, 0), (16, 16))])
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    return pipeline.unet(latents, torch.tensor([300]), **inputs).sample


def drawn(pipeline: Any) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.eval()
    noise = torch.Generator().manual_seed(1)
    return pipeline(PROMPT, num_inference_steps=2, guidance_scale=2.0, generator=noise, output_type="latent").images


def train_a_little(pipeline: Any, family: Family, trainable: Trainable) -> None:
    optimizer = torch.optim.AdamW(list(trainable.parameters.values()), lr=0.02)
    torch.manual_seed(3)
    pipeline.unet.train()
    for _ in range(3):  # LoRA's A moves from the second step on, when B is no longer zero
        predict(pipeline, family).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    pipeline.unet.eval()


@pytest.mark.parametrize(("case", "kind"), COMBINATIONS)
def test_exactly_the_promised_parameters_move_and_come_back(case: Case, kind: str, tiny: Path, tmp_path: Path) -> None:
    method: Method = METHODS[case.method]
    options, family = options_of(method, case.options), family_of(tiny / kind)
    pipeline = load(tiny, kind)
    before = state(pipeline)
    untouched = predict(pipeline, family, "a toy").detach()

    trainable = method.prepare(pipeline, options)
    assert torch.allclose(predict(pipeline, family, "a toy"), untouched, atol=1e-5), "a fresh method changes nothing"
    promised = trainable.parameters
    start = {name: value.detach().clone() for name, value in promised.items()}
    wanting = {id(value) for value in named_parameters(pipeline).values() if value.requires_grad}
    assert wanting == {id(value) for value in promised.values()}
    base = {plain(name) for name in promised if name in named_parameters(pipeline) and "lora_" not in name}
    if case.trains is not None:
        assert all(re.search(case.trains, name) for name in promised)
        layers = {name.rpartition(".")[0] for name in map(plain, promised)}
        for name in before:
            layer = name.removeprefix("unet.").rpartition(".")[0]
            if re.search(case.trains, f"{layer}.") and name.startswith("unet.") and len(before[name].shape) > 1:
                assert any(known.startswith(layer) for known in layers), f"{name} should be trained"
    assert trainable.trains_text == any(name.startswith("text_encoder") for name in promised)

    train_a_little(pipeline, family, trainable)
    still = {name for name, value in promised.items() if torch.equal(value, start[name])}
    assert still == set(), "promised, and did not move"
    assert changed(before, state(pipeline)) == {name for name in base if not name.endswith(".learned")}

    method.save(pipeline, trainable, tmp_path)
    fresh = load(tiny, kind)
    unlike = drawn(fresh)
    method.load(fresh, tmp_path, options)
    assert changed(before, state(fresh)) == {name for name in base if not name.endswith(".learned")}
    wanted, got = drawn(pipeline), drawn(fresh)
    assert torch.allclose(got, wanted, atol=1e-2 * wanted.abs().max().item()), "float16 of a checkpoint"
    assert not torch.allclose(got, unlike, atol=2e-2 * wanted.abs().max().item())


def test_every_method_is_a_complete_record() -> None:
    assert {case.method for case in PLAIN} <= METHODS.keys()
    for method in METHODS.values():
        assert method.label and method.summary and method.paper
        assert from_json(method.Options, json.loads(json.dumps(to_json(method.Options())))) == method.Options()
        with pytest.raises(UserError, match="no_such_option"):
            from_json(method.Options, {"no_such_option": 1})
    with pytest.raises(UserError, match="lora, sam"):
        find_method("nonsense")


RATES = {
    "full": ({"unet": 5e-6}, {"unet": 3e-4}),
    "lora": ({"lora": 1e-4}, {"lora": 1.5e-3}),
    "dreambooth": ({"unet": 2e-6}, {"unet": 3e-4}),
    "textual_inversion": ({"vectors": 1e-3}, {"vectors": 2e-3}),
    "dreambooth_lora": ({"lora": 1e-4}, {"lora": 1.5e-3}),
    "sam": ({"lora": 1e-4, "layers": 1e-5}, {"lora": 2e-3, "layers": 7e-4}),
}


@pytest.mark.parametrize("name", METHODS)
def test_rates_are_the_models_own_unless_given(name: str, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = METHODS[name]

    def rates(**values: Any) -> dict[str, float]:
        groups = method.prepare(load(tiny, "sd1"), options_of(method, values)).groups
        return {group.name: group.learning_rate for group in groups}

    if "learning_rate" in method.Options.__dataclass_fields__:
        assert next(iter(rates(learning_rate=0.02).values())) == 0.02
    if "text_encoder" in method.Options.__dataclass_fields__:
        assert rates(learning_rate=0.02, text_encoder=True)["text_encoder"] == 0.01
        assert rates(text_encoder=True, text_encoder_learning_rate=0.03)["text_encoder"] == 0.03
    if name in RATES:
        assert rates() == RATES[name][1]
        monkeypatch.setattr("sdstudio.methods.parts.SMALL_MODEL", 1)
        assert rates() == RATES[name][0]


def test_sams_last_layers_are_those_of_the_model(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sam.default_layers(load(tiny, "sd1").unet) == ["up_blocks.1.resnets.1", "conv_norm_out", "conv_out"]
    monkeypatch.setattr("sdstudio.methods.parts.SMALL_MODEL", 1)
    assert sam.default_layers(load(tiny, "sdxl").unet) == ["up_blocks.1", "conv_norm_out", "conv_out"]


def test_xls_first_text_encoder_is_trained_up_to_the_layer_that_pictures_depend_on(tiny: Path) -> None:
    trainable = METHODS["full"].prepare(load(tiny, "sdxl"), METHODS["full"].Options(text_encoder=True))
    first = {name for name in trainable.parameters if name.startswith("text_encoder.")}
    assert any("encoder.layers.0." in name for name in first)
    assert not any("encoder.layers.1." in name or "final_layer_norm" in name for name in first)
    assert "text_encoder_2.text_projection.weight" in trainable.parameters


def test_a_lora_file_is_what_stock_diffusers_reads(tiny: Path, tmp_path: Path) -> None:
    method, family = METHODS["lora"], family_of(tiny / "sd1")
    pipeline = load(tiny, "sd1")
    trainable = method.prepare(pipeline, lora.Options(rank=4, alpha=2.0, text_encoder=True))
    train_a_little(pipeline, family, trainable)
    method.save(pipeline, trainable, tmp_path)
    stock = load(tiny, "sd1")
    stock.load_lora_weights(tmp_path)
    assert stock.unet.peft_config["default_0"].lora_alpha == 2.0
    assert torch.allclose(predict(stock, family), predict(pipeline, family), atol=5e-3)
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
        assert str(tiny) not in str(file.metadata()), "a file that travels names no folder of this machine"


def test_an_embedding_file_is_what_stock_diffusers_reads(tiny: Path, tmp_path: Path) -> None:
    method, family = METHODS["textual_inversion"], family_of(tiny / "sd2")
    pipeline = load(tiny, "sd2")
    trainable = method.prepare(pipeline, options_of(method, {"vectors": 3, "initial_word": "toy"}))
    train_a_little(pipeline, family, trainable)
    method.save(pipeline, trainable, tmp_path)
    stock = load(tiny, "sd2")
    stock.load_textual_inversion(tmp_path)
    assert torch.allclose(predict(stock, family), predict(pipeline, family), atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_weights_of_another_base_model_are_refused(name: str, tiny: Path, tmp_path: Path) -> None:
    method = METHODS[name]
    options = options_of(method, {})
    pipeline = load(tiny, "sd1")
    method.save(pipeline, method.prepare(pipeline, options), tmp_path)
    with pytest.raises(UserError, match="base model"):
        method.load(load(tiny, "sdxl"), tmp_path, options)


def test_sam_refuses_layers_that_are_not_there_and_nothing_to_train(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"no module 'up_blocks.9'.*conv_out"):
        sam.prepare(load(tiny, "sd1"), sam.Options(layers=["up_blocks.9"]))
    with pytest.raises(UserError, match="nothing to train"):
        sam.prepare(load(tiny, "sd1"), sam.Options(rank=0, unfreeze=False))


def test_a_word_that_the_model_knows_is_not_learned_anew(tiny: Path) -> None:
    method = METHODS["textual_inversion"]
    pipeline = load(tiny, "sd1")
    with pytest.raises(UserError, match="knows the word 'a' already"):
        method.prepare(pipeline, replace(method.Options(), trigger="a"))
