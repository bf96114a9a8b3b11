"""Stable Diffusion 1.x and 2.x: one CLIP text encoder; what differs between them is read from their configs."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline

from sdstudio.families.loading import (
    PictureSize,
    is_pipeline_of,
    load_folder,
    load_single_file,
    tensor_names,
    with_sampler,
)
from sdstudio.schema import Family

_V1_TEXT_ENCODER = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
_V2_TEXT_ENCODER = "cond_stage_model.model.token_embedding.weight"


def detect(path: Path) -> bool:
    """True for a diffusers folder or a single file (by its keys) of Stable Diffusion 1.x or 2.x."""
    if path.is_dir():
        return is_pipeline_of(path, "StableDiffusionPipeline")
    return not tensor_names(path).isdisjoint({_V1_TEXT_ENCODER, _V2_TEXT_ENCODER})


def load(path: Path, dtype: torch.dtype = torch.float32) -> DiffusionPipeline:
    """The whole pipeline, on the CPU, from a folder or file for which `detect` is true."""
    if path.is_dir():
        return load_folder(path, StableDiffusionPipeline, dtype)
    is_v2 = _V2_TEXT_ENCODER in tensor_names(path)
    repository = "stabilityai/stable-diffusion-2-1" if is_v2 else "stable-diffusion-v1-5/stable-diffusion-v1-5"
    return load_single_file(path, StableDiffusionPipeline, repository, dtype)


def encode_prompts(pipeline: DiffusionPipeline, prompts: list[str]) -> dict[str, torch.Tensor]:
    """Text as the U-Net takes it: `encoder_hidden_states` (N, tokens, width). Prompts beyond the limit are cut."""
    hidden, _ = pipeline.encode_prompt(prompts, pipeline.text_encoder.device, 1, False)
    return {"encoder_hidden_states": hidden}


def unet_inputs(text: dict[str, torch.Tensor], sizes: list[PictureSize]) -> dict[str, Any]:
    """Keyword arguments of the U-Net beside the noisy latents and the timesteps; picture sizes play no part."""
    return {"encoder_hidden_states": text["encoder_hidden_states"]}


RECORD = Family(
    name="sd",
    label="Stable Diffusion 1.x and 2.x",
    detect=detect,
    load=load,
    encode_prompts=encode_prompts,
    unet_inputs=unet_inputs,
    pipeline=with_sampler,
)
