"""Every method: what it promises to train moves, nothing else does, and it survives save -> load."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tiny_models import build

from sdstudio import registry
from sdstudio.engine.pipeline import family_of, find_method
from sdstudio.families.loading import PictureSize
from sdstudio.methods import sam
from sdstudio.methods.parts import Trainable
from sdstudio.schema import Method, UserError, from_json, to_json

METHODS = registry.load("sdstudio.methods")
CASES = [
    ("lora", {}),
    ("lora", {"targets": "cross-attention", "rank": 2, "alpha": 8.0}),
    ("lora", {"targets": "attention and feed-forward", "dropout": 0.2}),
    ("sam", {}),
    ("sam", {"rank": 0}),
    ("sam", {"unfreeze": False}),
    ("sam", {"layers": ["up_blocks.1", "conv_out"]}),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in ("sd1", "sdxl"):
        build(kind, root / kind)
    return root


def load(tiny: Path, kind: str) -> Any:
    return family_of(tiny / kind).load(tiny / kind)


def plain(name: str) -> str:
    return name.replace(".base_layer.", ".")


def unet_inputs(pipeline: Any) -> dict[str, Any]:
    family = registry.load("sdstudio.families")["sdxl" if hasattr(pipeline, "text_encoder_2") else "sd"]
    text = family.encode_prompts(pipeline, ["a toy"])
    return family.unet_inputs(text, [PictureSize((16, 16), (0, 0), (16, 16))])


def unet_output(pipeline: Any) -> torch.Tensor:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return pipeline.unet.eval()(latents, torch.tensor([300]), **unet_inputs(pipeline)).sample


def train_a_little(pipeline: Any, trainable: Trainable) -> None:
    optimizer = torch.optim.AdamW(list(trainable.parameters.values()), lr=0.05)
    inputs = unet_inputs(pipeline)
    torch.manual_seed(3)
    for _ in range(3):  # LoRA's A moves from the second step on, when B is no longer zero
        output = pipeline.unet.train()(torch.randn(1, 4, 8, 8), torch.tensor([300]), **inputs).sample
        output.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_every_method_is_a_complete_record() -> None:
    assert {"lora", "sam"} <= METHODS.keys()
    for method in METHODS.values():
        assert method.label and method.summary and method.paper
        assert from_json(method.Options, json.loads(json.dumps(to_json(method.Options())))) == method.Options()
        with pytest.raises(UserError, match="no_such_option"):
            from_json(method.Options, {"no_such_option": 1})
    with pytest.raises(UserError, match="lora, sam"):
        find_method("nonsense")


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
@pytest.mark.parametrize(("name", "values"), CASES)
def test_exactly_the_promised_parameters_move_and_come_back(
    name: str, values: dict[str, object], kind: str, tiny: Path, tmp_path: Path
) -> None:
    method: Method = METHODS[name]
    options = from_json(method.Options, values)
    pipeline = load(tiny, kind)
    modules = {key: value for key, value in pipeline.components.items() if isinstance(value, torch.nn.Module)}
    before = {key: {n: p.clone() for n, p in module.named_parameters()} for key, module in modules.items()}
    untouched = unet_output(pipeline)

    trainable = method.prepare(pipeline, options)
    promised = set(trainable.parameters)
    start = {n: p.detach().clone() for n, p in pipeline.unet.named_parameters()}
    assert torch.equal(unet_output(pipeline), untouched), "a fresh method must not change the model"
    wanting = {n for n, p in pipeline.unet.named_parameters() if p.requires_grad}
    assert {plain(n) for n in wanting} == {plain(n) for n in promised}
    train_a_little(pipeline, trainable)
    moved = {n for n, p in pipeline.unet.named_parameters() if not torch.equal(p, start[n])}
    assert {plain(n) for n in moved} == {plain(n) for n in promised}
    for key, module in modules.items():
        if key != "unet":
            assert all(torch.equal(p, before[key][n]) for n, p in module.named_parameters()), key

    trained = unet_output(pipeline)
    assert not torch.allclose(trained, untouched, atol=1e-3)
    method.save(pipeline, trainable, tmp_path)
    fresh = load(tiny, kind)
    method.load(fresh, tmp_path, options)
    assert torch.allclose(unet_output(fresh), trained, atol=5e-3 * trained.abs().max().item()), (
        "float16 of a checkpoint"
    )
    changed = {
        plain(n)
        for n, p in fresh.unet.named_parameters()
        if "lora_" not in n and not torch.equal(p, before["unet"][plain(n)])
    }
    assert changed == {n for n in promised if "lora_" not in n}


def test_the_first_default_of_a_large_model_is_the_fields_own(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdstudio.methods.parts.SMALL_MODEL", 1)
    groups = {
        name: {group.name: group.learning_rate for group in METHODS[name].prepare(load(tiny, "sd1"), options).groups}
        for name, options in (("lora", METHODS["lora"].Options()), ("sam", METHODS["sam"].Options()))
    }
    assert groups == {"lora": {"lora": 1e-4}, "sam": {"lora": 1e-4, "layers": 1e-5}}
    assert sam.default_layers(load(tiny, "sd1").unet) == ["up_blocks.1", "conv_norm_out", "conv_out"]


def test_the_starters_defaults(tiny: Path) -> None:
    rates = [group.learning_rate for group in METHODS["sam"].prepare(load(tiny, "sd1"), sam.Options()).groups]
    assert rates == [2e-3, 7e-4]
    assert METHODS["lora"].prepare(load(tiny, "sd1"), METHODS["lora"].Options()).groups[0].learning_rate == 1.5e-3
    given = METHODS["lora"].Options(learning_rate=0.02)
    assert METHODS["lora"].prepare(load(tiny, "sd1"), given).groups[0].learning_rate == 0.02
    assert sam.default_layers(load(tiny, "sd1").unet) == ["up_blocks.1.resnets.1", "conv_norm_out", "conv_out"]


def test_a_lora_file_is_what_stock_diffusers_reads(tiny: Path, tmp_path: Path) -> None:
    method, options = METHODS["lora"], METHODS["lora"].Options(rank=4, alpha=2.0)
    pipeline = load(tiny, "sd1")
    trainable = method.prepare(pipeline, options)
    train_a_little(pipeline, trainable)
    method.save(pipeline, trainable, tmp_path)
    stock = load(tiny, "sd1")
    stock.load_lora_weights(tmp_path)
    assert stock.unet.peft_config["default_0"].lora_alpha == 2.0
    assert torch.allclose(unet_output(stock), unet_output(pipeline), atol=5e-3)
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118


def test_weights_of_another_base_model_are_refused(tiny: Path, tmp_path: Path) -> None:
    for name in ("lora", "sam"):
        method, folder = METHODS[name], tmp_path / name
        folder.mkdir()
        pipeline = load(tiny, "sd1")
        method.save(pipeline, method.prepare(pipeline, method.Options()), folder)
        with pytest.raises(UserError, match="base model"):
            method.load(load(tiny, "sdxl"), folder, method.Options())


def test_sam_refuses_layers_that_are_not_there_and_nothing_to_train(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"no module 'up_blocks.9'.*conv_out"):
        sam.prepare(load(tiny, "sd1"), sam.Options(layers=["up_blocks.9"]))
    with pytest.raises(UserError, match="nothing to train"):
        sam.prepare(load(tiny, "sd1"), sam.Options(rank=0, unfreeze=False))
