"""Families: folders and single files of SD 1.x, 2.x and XL load offline, to the same weights, or say what to do."""

import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from tiny_models import KINDS, SIDE, build, strip_weights, write_single_file

from sdstudio import models
from sdstudio.engine.pipeline import family_of, load_base, local_path, own_size
from sdstudio.families import loading
from sdstudio.families.loading import PictureSize
from sdstudio.models import hash_base_model, list_base_models, resolve_base_model
from sdstudio.schema import UserError
from sdstudio.schema.samplers import SAMPLERS
from sdstudio.workspace import Workspace

FAMILY = {"sd1": "sd", "sd2": "sd", "sdxl": "sdxl"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`<kind>` folders, and `<kind>-file.safetensors` with its configuration in the folder `<kind>-file`."""
    root = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        build(kind, root / kind)
        write_single_file(kind, root / kind, root / f"{kind}-file.safetensors")
        shutil.copytree(root / kind, root / f"{kind}-file")
        strip_weights(root / f"{kind}-file")
    return root


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_and_a_single_file_of_one_model_are_detected_and_hold_the_same(kind: str, tiny: Path) -> None:
    folder, file = tiny / kind, tiny / f"{kind}-file.safetensors"
    assert family_of(folder).name == family_of(file).name == FAMILY[kind]
    one, other = family_of(folder).load(folder), family_of(file).load(file)
    for name, component in one.components.items():
        if isinstance(component, torch.nn.Module):
            expected, found = component.state_dict(), other.components[name].state_dict()
            assert expected.keys() == found.keys()
            assert all(torch.equal(expected[key], found[key]) for key in expected), name
    assert own_size(other) == SIDE
    assert other.scheduler.config.prediction_type == ("v_prediction" if kind == "sd2" else "epsilon")


@pytest.mark.parametrize("kind", KINDS)
def test_the_unet_gets_what_the_stock_pipeline_gives_it(kind: str, tiny: Path) -> None:
    family = family_of(tiny / kind)
    pipeline = family.load(tiny / kind)
    seen: list[dict[str, torch.Tensor]] = []

    def keep(module: torch.nn.Module, args: tuple[object, ...], kwargs: dict[str, torch.Tensor]) -> None:
        seen.append(kwargs)

    handle = pipeline.unet.register_forward_pre_hook(keep, with_kwargs=True)
    pipeline("a toy", num_inference_steps=1, guidance_scale=1.0)
    handle.remove()
    size = PictureSize(original=(SIDE, SIDE), crop=(0, 0), target=(SIDE, SIDE))
    ours = family.unet_inputs(family.encode_prompts(pipeline, ["a toy"]), [size])
    assert torch.equal(ours["encoder_hidden_states"], seen[0]["encoder_hidden_states"])
    if kind == "sdxl":
        for name, value in ours["added_cond_kwargs"].items():
            assert torch.equal(value, seen[0]["added_cond_kwargs"][name]), name


def test_time_ids_are_original_size_crop_and_target(tiny: Path) -> None:
    family = family_of(tiny / "sdxl")
    pipeline = family.load(tiny / "sdxl")
    text = family.encode_prompts(pipeline, ["a toy", ""])
    sizes = [PictureSize((480, 640), (0, 7), (16, 16)), PictureSize((16, 16), (0, 0), (16, 16))]
    time_ids = family.unet_inputs(text, sizes)["added_cond_kwargs"]["time_ids"]
    assert time_ids.tolist() == [[480, 640, 0, 7, 16, 16], [16, 16, 0, 0, 16, 16]]


def test_the_empty_prompt_of_xl_is_zeros_where_the_model_says_so(tiny: Path) -> None:
    family = family_of(tiny / "sdxl")
    pipeline = family.load(tiny / "sdxl")
    text = family.encode_prompts(pipeline, ["", "a toy"])
    assert not text["encoder_hidden_states"][0].any() and not text["text_embeds"][0].any()
    assert text["encoder_hidden_states"][1].any() and text["text_embeds"][1].any()
    pipeline.register_to_config(force_zeros_for_empty_prompt=False)
    assert family.encode_prompts(pipeline, [""])["text_embeds"].any()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_sampler_keeps_weights_and_noise_schedule(sampler: str, tiny: Path) -> None:
    family = family_of(tiny / "sd2")
    pipeline = family.load(tiny / "sd2")
    other = family.pipeline(pipeline, sampler)
    assert other.unet is pipeline.unet
    assert type(other.scheduler).__name__ == SAMPLERS[sampler].scheduler
    assert other.scheduler.config.prediction_type == "v_prediction"
    assert other.scheduler.config.beta_start == pipeline.scheduler.config.beta_start


def test_a_single_file_takes_its_configuration_from_its_own_folder(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny / "sd1-file", tmp_path / "repository")
    file = Path(shutil.copy(tiny / "sd1-file.safetensors", tmp_path / "repository" / "v1.safetensors"))
    assert family_of(file).load(file).text_encoder.config.hidden_size == 16


def test_without_configuration_and_hub_a_single_file_says_what_to_do(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **kwargs: object) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(loading, "snapshot_download", offline)
    file = Path(shutil.copy(tiny / "sd2-file.safetensors", tmp_path / "lonely.safetensors"))
    with pytest.raises(UserError, match=r"only weights.*stable-diffusion-2-1.*lonely"):
        family_of(file).load(file)


def test_a_single_file_with_the_wrong_configuration_is_refused(tiny: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(tiny / "sd1-file.safetensors", tmp_path / "mixed.safetensors"))
    shutil.copytree(tiny / "sd2-file", tmp_path / "mixed")
    with pytest.raises(UserError, match="does not fit the configuration"):
        family_of(file).load(file)


def test_what_is_not_a_base_model_is_refused_in_words(tiny: Path, tmp_path: Path, ws: Workspace) -> None:
    lora = tmp_path / "style.safetensors"
    save_file({"unet.down.lora_A.weight": torch.zeros(2, 2)}, lora)
    with pytest.raises(UserError, match="is a LoRA"):
        family_of(lora)
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    with pytest.raises(UserError, match="none of the model families"):
        family_of(other)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes((tiny / "sd1-file.safetensors").read_bytes()[:1000])
    with pytest.raises(UserError, match="not a whole"):
        family_of(torn)
    with pytest.raises(UserError, match=r"model_index\.json"):
        resolve_base_model(ws, str(tmp_path))
    pickled = tmp_path / "model.ckpt"
    pickled.write_bytes(b"x")
    with pytest.raises(UserError, match="pickled"):
        resolve_base_model(ws, str(pickled))
    for ref in ("nowhere", "/nowhere/at/all", "missing.safetensors", "", "x" * 5000):
        with pytest.raises(UserError):
            resolve_base_model(ws, ref)


def test_a_folder_without_safetensors_weights_is_refused(tiny: Path, ws: Workspace) -> None:
    with pytest.raises(UserError, match="safetensors"):
        load_base(ws, str(tiny / "sd1-file"))


def test_an_inpainting_model_is_refused(tiny: Path, tmp_path: Path, ws: Workspace) -> None:
    folder = tmp_path / "inpainting"
    shutil.copytree(tiny / "sd1", folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_in.weight"] = torch.zeros(16, 9, 3, 3)
    save_file(tensors, weights, metadata={"format": "pt"})
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text().replace('"in_channels": 4', '"in_channels": 9'))
    with pytest.raises(UserError, match="not a plain text-to-image model"):
        load_base(ws, str(folder))


def test_a_hub_model_comes_from_the_cache_or_says_what_to_do(
    tiny: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = resolve_base_model(ws, "owner/name")
    assert (base.kind, base.path) == ("hub", "owner/name")
    asked = []

    def download(name: str, **options: object) -> str:
        asked.append(options)
        if len(asked) > 1:
            return str(tiny / "sd1")
        raise LocalEntryNotFoundError("not cached")

    monkeypatch.setattr("diffusers.DiffusionPipeline.download", download)
    assert local_path(base) == tiny / "sd1"
    assert all(options["use_safetensors"] for options in asked)
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda *args, **options: _offline())
    with pytest.raises(UserError, match="cannot be fetched"):
        local_path(base)


def _offline() -> str:
    raise OSError("offline")


def test_models_of_the_workspace_are_listed(tiny: Path, ws: Workspace) -> None:
    ws.models.mkdir()
    shutil.copytree(tiny / "sd2", ws.models / "my-sd2")
    shutil.copy(tiny / "sdxl-file.safetensors", ws.models / "my-xl.safetensors")
    shutil.copytree(tiny / "sdxl-file", ws.models / "my-xl")
    (ws.models / "notes").mkdir()
    refs = [model.ref for model in list_base_models(ws) if model.kind != "hub"]
    assert refs == ["starter", "my-sd2", "my-xl.safetensors"]
    for ref in refs[1:]:
        assert load_base(ws, ref).base_hash


def test_the_hash_follows_the_weights_and_is_cached(
    tiny: Path, tmp_path: Path, ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny / "sd1", folder)
    first = hash_base_model(ws, folder)
    assert first == hash_base_model(ws, tiny / "sd1") != hash_base_model(ws, tiny / "sd2")
    with monkeypatch.context() as patch:
        patch.setattr(models, "sha256_file", lambda path: pytest.fail("hashed again"))
        assert hash_base_model(ws, folder) == first
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["encoder.conv_in.bias"] += 1
    save_file(tensors, weights, metadata={"format": "pt"})
    assert hash_base_model(ws, folder) != first
    with pytest.raises(UserError, match=r"no \.safetensors"):
        hash_base_model(ws, tiny / "sd1-file")
