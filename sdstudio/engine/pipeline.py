"""From a base model and a checkpoint to a pipeline that draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from sdstudio import registry
from sdstudio.families.loading import tensor_names
from sdstudio.models import (
    BaseModel,
    hash_base_model,
    resolve_base_model,
)
from sdstudio.schema import Family, Method, UserError
from sdstudio.workspace import Workspace


@dataclass(frozen=True)
class LoadedModel:
    """A pipeline in memory; `base_hash` and `checkpoint_hash` (empty without checkpoint) name its exact weights.

    `flags` say what is odd about it, for every picture that it draws; prompts are asked with 'no negative <part>' for
    each of its `negative_parts`.
    """

    pipeline: DiffusionPipeline
    family: Family
    label: str
    base_hash: str
    checkpoint_hash: str = ""
    flags: tuple[str, ...] = ()
    negative_parts: tuple[str, ...] = ()


def pick_device() -> torch.device:
    """The first CUDA device, or else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def local_path(base: BaseModel) -> Path:
    """The base model's folder or file; a Hub model is fetched (safetensors only) when it is not in the cache."""
    if base.kind != "hub":
        return Path(base.path)
    for local in (True, False):
        try:
            return Path(DiffusionPipeline.download(str(base.path), use_safetensors=True, local_files_only=local))
        except (LocalEntryNotFoundError, OSError, HfHubHTTPError, RepositoryNotFoundError, ValueError):
            continue
    raise UserError(
        f"The Hub model {base.ref!r} is not in the local cache and cannot be fetched: check its name, the network and, "
        "for a gated model, `hf auth login`; or give a folder or .safetensors file."
    )


def family_of(path: Path) -> Family:
    """The family whose models look like this; a UserError when it is none of the studio's."""
    families: Mapping[str, Family] = registry.load("sdstudio.families")
    for family in families.values():
        if family.detect(path):
            return family
    if path.is_file() and any("lora" in name for name in tensor_names(path)):
        raise UserError(f"{path.name} is a LoRA, not a base model: choose the base model that it belongs to.")
    raise UserError(
        f"{path.name} is none of the model families that the studio knows (Stable Diffusion 1.x, 2.x, XL): "
        "choose another base model."
    )


def load_base(ws: Workspace, ref: str, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """The base model on the CPU, nothing trained yet."""
    base = resolve_base_model(ws, ref)
    path = local_path(base)
    family = family_of(path)
    pipeline = family.load(path, dtype)
    _check_text_to_image(pipeline, base.label)
    pipeline.set_progress_bar_config(disable=True)
    return LoadedModel(pipeline, family, base.label, hash_base_model(ws, path))


def _check_text_to_image(pipeline: DiffusionPipeline, label: str) -> None:
    if pipeline.unet.config.in_channels != pipeline.vae.config.latent_channels:
        raise UserError(
            f"{label} is not a plain text-to-image model (its U-Net takes more than latents): choose another."
        )


def find_method(name: str) -> Method:
    """The method plug-in of this name; a UserError naming those that exist otherwise."""
    method: Method = registry.find("sdstudio.methods", "method", name)
    return method


def cut_prompts(pipeline: DiffusionPipeline, prompts: list[str]) -> list[str]:
    """Those prompts that are longer than the text encoder takes; what is beyond its limit has no effect."""
    return [prompt for prompt in dict.fromkeys(prompts) if cut_text(pipeline, prompt)]


def cut_text(pipeline: DiffusionPipeline, prompt: str) -> str:
    """What the text encoder never sees of `prompt`; empty where it takes the whole."""
    tokens = pipeline.tokenizer(prompt).input_ids
    limit = pipeline.tokenizer.model_max_length
    if len(tokens) <= limit:
        return ""
    return str(pipeline.tokenizer.decode(tokens[limit - 1 :], skip_special_tokens=True)).strip() or "…"


def latent_factor(pipeline: DiffusionPipeline) -> int:
    """Pixels per latent, along one side."""
    return int(2 ** (len(pipeline.vae.config.block_out_channels) - 1))


def own_size(pipeline: DiffusionPipeline) -> int:
    """Side, in pixels, of the square pictures that the model was made for."""
    return int(pipeline.unet.config.sample_size) * latent_factor(pipeline)


def check_side(pipeline: DiffusionPipeline, side: int, what: str) -> int:
    """`side` in pixels, the model's own for 0; a UserError when the model cannot take it."""
    factor = latent_factor(pipeline)
    if side % factor:
        raise UserError(
            f"The {what} {side} does not fit this model: use a multiple of {factor}, such as {own_size(pipeline)}."
        )
    return side or own_size(pipeline)
