"""Exports: what leaves the studio draws the same pictures in stock diffusers, under the names that others expect.

pytest tests/test_exports.py     all of them: pytest -m "slow or not slow" tests/test_exports.py
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_models import KINDS, build, strip_weights, write_single_file

from sdstudio import registry
from sdstudio.engine.attaching import load_model
from sdstudio.engine.checkpoints import write_checkpoint
from sdstudio.engine.pipeline import family_of
from sdstudio.exports import export_checkpoint, formats, formats_for
from sdstudio.exports.ldm import unet_name
from sdstudio.families.loading import PictureSize
from sdstudio.methods.parts import text_encoders
from sdstudio.models import damage, hash_base_model
from sdstudio.schema import Checkpoint, ModelRef, UserError
from sdstudio.workspace import Workspace

METHODS = registry.load("sdstudio.methods")
WORD = "<asim>"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        build(kind, root / kind)
    return root


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def checkpoint(ws: Workspace, base: Path, method: str, **options: Any) -> Path:
    """A checkpoint whose trained parameters are all a little off."""
    chosen = replace(METHODS[method].Options(**options), trigger=WORD)
    pipeline = family_of(base).load(base)
    torch.manual_seed(0)
    trainable = METHODS[method].prepare(pipeline, chosen)
    for value in trainable.parameters.values():
        value.data += 0.1 * torch.randn_like(value)
    record = Checkpoint(
        method=method,
        method_options={**options, "trigger": WORD},
        base_model=str(base),
        base_hash=hash_base_model(ws, base),
        family=family_of(base).name,
        trigger=WORD,
        run="run",
        step=7,
    )
    return write_checkpoint(ws.runs / "run", record, lambda folder: METHODS[method].save(pipeline, trainable, folder))


@torch.no_grad()
def predict(pipeline: Any) -> torch.Tensor:
    pipeline = pipeline.to(torch.float32)
    family = registry.load("sdstudio.families")["sdxl" if len(text_encoders(pipeline)) == 2 else "sd"]
    text = family.encode_prompts(pipeline, [f"{WORD} a toy"])
    inputs = family.unet_inputs(text, [PictureSize((16, 16), (0, 0), (16, 16))])
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    answer = pipeline.unet.eval()(latents, torch.tensor([300]), **inputs).sample
    return torch.cat([answer.flatten(), pipeline.vae.decode(latents).sample.flatten()])


def trained(ws: Workspace, folder: Path, base: Path) -> torch.Tensor:
    return predict(load_model(ws, ModelRef(base_model=str(base), checkpoint=str(folder))).pipeline)


def assert_same(got: torch.Tensor, wanted: torch.Tensor, base: Path) -> None:
    """Equal as far as float16 goes, and not what the untrained model says."""
    scale = wanted.abs().max().item()
    assert torch.allclose(got, wanted, atol=5e-3 * scale)
    assert not torch.allclose(predict(family_of(base).load(base)), wanted, atol=2e-2 * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_file_is_the_trained_model(kind: str, tiny: Path, ws: Workspace, tmp_path: Path) -> None:
    folder = checkpoint(ws, tiny / kind, "sam")
    file = export_checkpoint(ws, str(folder), "single-file", tmp_path / "model")
    assert file == tmp_path / "model.safetensors"
    shutil.copytree(tiny / kind, tmp_path / "model")
    strip_weights(tmp_path / "model")
    assert family_of(file).name == family_of(tiny / kind).name
    assert_same(predict(family_of(file).load(file)), trained(ws, folder, tiny / kind), tiny / kind)
    write_single_file(kind, tiny / kind, tmp_path / "reference.safetensors")
    reference = {name: value.shape for name, value in load_file(tmp_path / "reference.safetensors").items()}
    if kind == "sd2":  # the reference adds a projection that the model does not have
        del reference["cond_stage_model.model.text_projection"]
    assert {name: value.shape for name, value in load_file(file).items()} == reference


@pytest.mark.parametrize("kind", ["sd2", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_a_diffusers_folder_is_the_trained_model(kind: str, tiny: Path, ws: Workspace, tmp_path: Path) -> None:
    folder = checkpoint(ws, tiny / kind, "lora", text_encoder=True)
    target = export_checkpoint(ws, str(folder), "diffusers", tmp_path / "model")
    assert_same(predict(family_of(target).load(target)), trained(ws, folder, tiny / kind), tiny / kind)
    assert not any(str(tiny) in file.read_text() for file in target.rglob("*.json")), "a folder of this machine"
    assert not any("lora" in name for file in target.rglob("*.safetensors") for name in load_file(file))


def test_a_new_word_is_in_the_diffusers_folder(tiny: Path, ws: Workspace, tmp_path: Path) -> None:
    folder = checkpoint(ws, tiny / "sd1", "textual_inversion", vectors=2)
    target = export_checkpoint(ws, str(folder), "diffusers", tmp_path / "model")
    assert_same(predict(family_of(target).load(target)), trained(ws, folder, tiny / "sd1"), tiny / "sd1")


PREFIXES = {"sd1": {"lora_te"}, "sd2": {"lora_te"}, "sdxl": {"lora_te1", "lora_te2"}}
VERSIONS = {
    "sd1": ("sd_v1", "stable-diffusion-v1/lora", "epsilon"),
    "sd2": ("sd_v2", "stable-diffusion-v2-768-v/lora", "v"),
    "sdxl": ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora", "epsilon"),
}


@pytest.mark.parametrize("kind", ["sd1", pytest.param("sd2", marks=pytest.mark.slow), "sdxl"])
def test_a_kohya_file_has_the_prefixes_and_alpha_of_its_family(
    kind: str, tiny: Path, ws: Workspace, tmp_path: Path
) -> None:
    options = {"rank": 4, "alpha": 2.0, "text_encoder": True}
    folder = checkpoint(ws, tiny / kind, "lora", **options)
    file = export_checkpoint(ws, str(folder), "kohya-lora", tmp_path / "asim.safetensors")
    tensors = load_file(file)
    assert {name.partition("_text_model_")[0] for name in tensors if "_text_model_" in name} == PREFIXES[kind]
    layers = {name.partition(".")[0] for name in tensors}
    assert {name.partition(".")[2] for name in tensors} == {"lora_down.weight", "lora_up.weight", "alpha"}
    assert len(tensors) == 3 * len(layers)
    assert all(tensors[f"{layer}.alpha"].item() == 2.0 for layer in layers)
    assert all(tensors[f"{layer}.lora_down.weight"].shape[0] == 4 for layer in layers)
    unet = {layer for layer in layers if layer.startswith("lora_unet_")}
    originals = {layer for layer in unet if re.search("(in|out)put_blocks|middle_block", layer)}
    assert originals == (unet if kind == "sdxl" else set()), "XL's layers have their original names, others diffusers'"
    with safe_open(file, "pt") as opened:
        said = opened.metadata()
    keys = ("ss_base_model_version", "modelspec.architecture", "modelspec.prediction_type")
    assert tuple(said[key] for key in keys) == VERSIONS[kind]
    assert (said["ss_network_dim"], said["ss_network_alpha"], said["modelspec.trigger_phrase"]) == ("4", "2.0", WORD)
    stock = family_of(tiny / kind).load(tiny / kind)
    stock.load_lora_weights(file)
    assert_same(predict(stock), trained(ws, folder, tiny / kind), tiny / kind)
    bare = export_checkpoint(ws, str(folder), "kohya-lora", tmp_path / "bare", metadata=False)
    with safe_open(bare, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


@pytest.mark.slow
def test_convolutions_are_in_the_kohya_file(tiny: Path, ws: Workspace, tmp_path: Path) -> None:
    folder = checkpoint(ws, tiny / "sd1", "lora", targets="attention, feed-forward and convolution", rank=2)
    file = export_checkpoint(ws, str(folder), "kohya-lora", tmp_path / "conv")
    assert load_file(file)["lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight"].shape == (2, 16, 3, 3)
    stock = family_of(tiny / "sd1").load(tiny / "sd1")
    stock.load_lora_weights(file)
    assert_same(predict(stock), trained(ws, folder, tiny / "sd1"), tiny / "sd1")


@pytest.mark.parametrize("method", ["sam", pytest.param("full", marks=pytest.mark.slow)])
def test_the_studios_own_form_is_a_checkpoint_without_the_state_to_resume(
    method: str, tiny: Path, ws: Workspace, tmp_path: Path
) -> None:
    folder = checkpoint(ws, tiny / "sd1", method)
    (folder / "training_state.safetensors").write_bytes(b"large")
    target = export_checkpoint(ws, str(folder), "lora+delta", tmp_path / "small")
    assert damage(target) == "" and not (target / "training_state.safetensors").exists()
    assert str(tiny) not in (target / "checkpoint.json").read_text(), "a folder of this machine"
    assert torch.equal(trained(ws, target, tiny / "sd1"), trained(ws, folder, tiny / "sd1"))


@pytest.mark.parametrize(
    ("kind", "keys"), [("sd1", {"emb_params"}), pytest.param("sdxl", {"clip_l", "clip_g"}, marks=pytest.mark.slow)]
)
def test_an_embedding_is_what_others_load(kind: str, keys: set[str], tiny: Path, ws: Workspace, tmp_path: Path) -> None:
    folder = checkpoint(ws, tiny / kind, "textual_inversion", vectors=3)
    file = export_checkpoint(ws, str(folder), "embedding", tmp_path / "asim")
    vectors = load_file(file)
    assert vectors.keys() == keys and {value.shape[0] for value in vectors.values()} == {3}
    stock = family_of(tiny / kind).load(tiny / kind)
    for key, (name, encoder) in zip(sorted(keys, reverse=True), text_encoders(stock).items(), strict=True):
        tokenizer = getattr(stock, name.replace("text_encoder", "tokenizer"))
        stock.load_textual_inversion({WORD: vectors[key]}, tokenizer=tokenizer, text_encoder=encoder)
    assert_same(predict(stock), trained(ws, folder, tiny / kind), tiny / kind)


SD_15 = {"cross_attention_dim": 768}
SD_21 = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
SD_XL = {
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def empty_unet(config: dict[str, Any]) -> Any:
    with torch.device("meta"):
        return UNet2DConditionModel(sample_size=64, **config)


@pytest.mark.parametrize("config", [SD_15, SD_21, SD_XL], ids=["1.5", "2.1", "XL"])
def test_every_weight_of_the_real_models_has_its_original_name(config: dict[str, Any]) -> None:
    unet = empty_unet(config)
    names = list(unet.state_dict())
    single = {f"model.diffusion_model.{unet_name(name, unet.config)}": name for name in names}
    assert len(single) == len(names)
    assert convert_ldm_unet_checkpoint(single, dict(unet.config)) == {name: name for name in names}


def test_checkpoints_of_stable_diffusion_15_are_small() -> None:
    def megabytes(method: str, **options: Any) -> float:
        pipeline = SimpleNamespace(unet=empty_unet(SD_15))
        trainable = METHODS[method].prepare(pipeline, METHODS[method].Options(**options))
        return sum(2 * value.numel() for value in trainable.parameters.values()) / 1e6  # saved in float16

    assert 25 < megabytes("sam", rank=4) <= 40
    assert 1 < megabytes("lora", rank=4) <= 3.5


def test_what_does_not_fit_is_refused_and_nothing_is_left(tiny: Path, ws: Workspace, tmp_path: Path) -> None:
    folder = checkpoint(ws, tiny / "sd1", "sam")

    def said(format: str, name: str = "new", source: Path = folder) -> str:
        with pytest.raises(UserError) as caught:
            export_checkpoint(ws, str(source), format, tmp_path / "out" / name)
        assert not [path for path in (tmp_path / "out").rglob("*") if path.name != "there"]
        return str(caught.value)

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "there").touch()
    assert "choose one of" in said("gguf")
    assert "cannot hold whole layers" in said("kohya-lora")
    assert "taught no new word" in said("embedding")
    assert "is there already" in said("lora+delta", "there")
    assert "no checkpoint" in said("diffusers", source=tmp_path / "nowhere")
    assert {form.name for form in formats_for(folder)} == {"diffusers", "single-file", "lora+delta"}
    word = checkpoint(ws, tiny / "sd1", "textual_inversion")
    assert "no room for a new word" in said("single-file", source=word)
    assert {form.name for form in formats_for(word)} == {"diffusers", "embedding"}
    dora = checkpoint(ws, tiny / "sd1", "lora", dora=True)
    assert "DoRA" in said("kohya-lora", source=dora)
    (dora / "pytorch_lora_weights.safetensors").write_bytes(b"torn")
    assert "is damaged" in said("single-file", source=dora)
    assert set(formats()) == {"diffusers", "single-file", "kohya-lora", "lora+delta", "embedding"}


def test_the_file_says_how_it_was_trained(tiny: Path, ws: Workspace, tmp_path: Path) -> None:
    folder = checkpoint(ws, tiny / "sd1", "lora")
    (folder.parents[1] / "config.json").write_text(json.dumps({"dataset": "toys", "loop": {"steps": 9, "seed": 5}}))
    images = [{"id": "x", "file_name": "x", "width": 1, "height": 1, "caption": caption} for caption in ("a, b", "a")]
    snapshot = {"dataset": "toys", "hash": "h", "images": images}
    (folder.parents[1] / "snapshot.json").write_text(json.dumps(snapshot))
    file = export_checkpoint(ws, str(folder), "kohya-lora", tmp_path / "said")
    with safe_open(file, "pt") as opened:
        said = opened.metadata()
    assert (said["ss_max_train_steps"], said["ss_steps"], said["ss_seed"]) == ("9", "7", "5")
    assert json.loads(said["ss_tag_frequency"]) == {"toys": {"a": 2, "b": 1}}
    assert str(tmp_path) not in json.dumps(said)
