"""Stable Diffusion XL: two text encoders, and the picture's size and crop as a condition (Podell et al. 2023)."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, StableDiffusionXLPipeline

from sdstudio.families.loading import (
    PictureSize,
    is_pipeline_of,
    load_folder,
    load_single_file,
    tensor_names,
    with_sampler,
)
from sdstudio.sampling.prompting import without_empty
from sdstudio.schema import Family

_SECOND_TEXT_ENCODER = "conditioner.embedders.1.model.positional_embedding"


def detect(path: Path) -> bool:
    """True for a diffusers folder or a single file (by its keys) of Stable Diffusion XL base models."""
    if path.is_dir():
        return is_pipeline_of(path, "StableDiffusionXLPipeline")
    return _SECOND_TEXT_ENCODER in tensor_names(path)


def load(path: Path, dtype: torch.dtype = torch.float32) -> DiffusionPipeline:
    """The whole pipeline, on the CPU, from a folder or file for which `detect` is true."""
    if path.is_dir():
        return load_folder(path, StableDiffusionXLPipeline, dtype)
    return load_single_file(path, StableDiffusionXLPipeline, "stabilityai/stable-diffusion-xl-base-1.0", dtype)


def encode_prompts(pipeline: DiffusionPipeline, prompts: list[str]) -> dict[str, torch.Tensor]:
    """Text as the U-Net takes it: `encoder_hidden_states` (N, tokens, width) and `text_embeds` (N, width 2).

    The empty prompt is all zeros where the model was trained so (`force_zeros_for_empty_prompt`).
    """
    hidden, _, pooled, _ = pipeline.encode_prompt(
        prompts, device=pipeline.text_encoder_2.device, do_classifier_free_guidance=False
    )
    hidden, pooled = without_empty(pipeline, prompts, hidden, pooled)
    return {"encoder_hidden_states": hidden, "text_embeds": pooled}


def unet_inputs(text: dict[str, torch.Tensor], sizes: list[PictureSize]) -> dict[str, Any]:
    """Keyword arguments of the U-Net beside the noisy latents and the timesteps.

    `time_ids` (N, 6) are original height and width, crop top and left, target height and width, in pixels.
    """
    pooled = text["text_embeds"]
    time_ids = torch.tensor([[*size.original, *size.crop, *size.target] for size in sizes])
    return {
        "encoder_hidden_states": text["encoder_hidden_states"],
        "added_cond_kwargs": {"text_embeds": pooled, "time_ids": time_ids.to(pooled)},
    }


RECORD = Family(
    name="sdxl",
    label="Stable Diffusion XL",
    detect=detect,
    load=load,
    encode_prompts=encode_prompts,
    unet_inputs=unet_inputs,
    pipeline=with_sampler,
)
