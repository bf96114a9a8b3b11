"""What a guidance plug-in is asked, and what it answers: how one batch is steered while it forms."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

UNet = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One batch of N pictures, before its first step; `latents` (N, C, H, W) are pure noise of deviation 1."""

    pipeline: DiffusionPipeline
    prompts: list[str]
    negative_prompts: list[str]
    guidance_scale: float
    steps: int
    latents: Tensor
    clip_skip: int = 0


@dataclass(frozen=True, kw_only=True)
class Steering:
    """How the pipeline is called, and what happens at its steps.

    `call` are the pipeline's keyword arguments that say what to draw. `unet(original)` stands in for the U-Net, taking
    and returning what it does. `before(step, timestep, latents)` gives the latents that the step then begins from.
    `maps()` gives for each picture where each chosen word was looked for at last: word -> (H, W), from 0 to 1.
    """

    call: dict[str, Any]
    unet: Callable[[UNet], UNet] | None = None
    before: Callable[[int, Tensor, Tensor], Tensor] | None = None
    maps: Callable[[], list[dict[str, Tensor]]] | None = None


@contextmanager
def steered(pipeline: DiffusionPipeline, steering: Steering) -> Iterator[None]:
    """The pipeline's U-Net replaced by the steering's for the time of the block."""
    if steering.unet is None:
        yield
        return
    original = pipeline.unet.forward
    pipeline.unet.forward = steering.unet(original)
    try:
        yield
    finally:
        del pipeline.unet.forward


def noise(pipeline: DiffusionPipeline, generators: list[torch.Generator], width: int, height: int) -> Tensor:
    """(N, C, H, W) noise, each picture's from its own generator, as diffusers' pipelines draw it; pixels in."""
    factor = pipeline.vae_scale_factor
    shape = (1, pipeline.unet.config.in_channels, height // factor, width // factor)
    drawn = [torch.randn(shape, generator=generator, dtype=pipeline.unet.dtype) for generator in generators]
    return torch.cat(drawn).to(pipeline.unet.device)
