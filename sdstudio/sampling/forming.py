"""A picture while it forms: what the U-Net takes it for, and a rough look at that without the VAE."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor

Estimate = Callable[[], Tensor]
"""Gives the clean latents (N, C, H, W) that the pictures are at this moment taken to have."""
PATCH = 2
"""Pixels of a rough picture to a side of each latent."""
SAMPLES, COARSE = 4, 8


@contextmanager
def estimated(pipeline: DiffusionPipeline, guidance_scale: float) -> Iterator[Estimate]:
    """Watch the U-Net for the time of the block; the estimate is that of its last answer under `guidance_scale`.

    Ho et al. 2020, arXiv:2006.11239, equation 15: x₀ = (x − √(1−ᾱ) ε) / √ᾱ; for a model of velocity v, Salimans and
    Ho 2022, arXiv:2202.00512: x₀ = √ᾱ x − √(1−ᾱ) v. U-Nets are always given x at variance 1, whatever the sampler.
    """
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def keep(unet: Any, given: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
        if not torch.is_grad_enabled():  # a guidance that looks ahead does so with gradients
            seen[:] = [(given[0], torch.as_tensor(given[1]), answer[0])]

    def estimate() -> Tensor:
        noisy, timestep, answer = seen[0]
        if pipeline.do_classifier_free_guidance:
            noisy = noisy.chunk(2)[1]
            away, towards = answer.chunk(2)
            answer = away + guidance_scale * (towards - away)
        kept = _kept(pipeline.scheduler, timestep).to(noisy)
        if pipeline.scheduler.config.prediction_type == "v_prediction":
            return kept.sqrt() * noisy - (1 - kept).sqrt() * answer
        return (noisy - (1 - kept).sqrt() * answer) / kept.sqrt()

    handle = pipeline.unet.register_forward_hook(keep, with_kwargs=True)
    try:
        yield estimate
    finally:
        handle.remove()


def _kept(scheduler: Any, timestep: Tensor) -> Tensor:
    """ᾱ, the share of the picture in its variance, at a timestep that may lie between two of the model's."""
    alphas = scheduler.alphas_cumprod.cpu()
    place = timestep.detach().cpu().double().clamp(0, len(alphas) - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=len(alphas) - 1)
    return torch.lerp(alphas[below].double(), alphas[above].double(), place - below)


@torch.no_grad()
def fit_colours(pipeline: DiffusionPipeline) -> Tensor:
    """(C + 1, 3 · PATCH²): what each channel of a latent adds to its patch of pixels, and what is always there.

    Least squares over smooth random latents that the VAE decodes; pixels from 0 to 1.
    """
    vae, channels = pipeline.vae, pipeline.unet.config.in_channels
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn((SAMPLES, channels, COARSE, COARSE), generator=generator)
    latents = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    decoded = vae.decode(latents.to(vae.device, vae.dtype) / vae.config.scaling_factor).sample.float().cpu()
    side = PATCH * latents.shape[-1]
    pixels = torch.nn.functional.adaptive_avg_pool2d((decoded / 2 + 0.5).clamp(0, 1), (side, side))
    patches = torch.nn.functional.pixel_unshuffle(pixels, PATCH)
    return torch.linalg.lstsq(_columns(latents), patches.movedim(1, -1).flatten(0, -2)).solution


def rough_pictures(latents: Tensor, colours: Tensor) -> list[Image.Image]:
    """A picture of PATCH pixels to a latent for each of `latents` (N, C, H, W), by the colours of `fit_colours`."""
    latents = latents.detach().float().cpu()
    patches = (_columns(latents) @ colours).unflatten(0, (len(latents), *latents.shape[-2:])).movedim(-1, 1)
    pixels = torch.nn.functional.pixel_shuffle(patches, PATCH).clamp(0, 1).mul(255).round().byte()
    return [Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()) for picture in pixels]


def _columns(latents: Tensor) -> Tensor:
    """One row a latent: its channels, and 1."""
    flat = latents.movedim(1, -1).flatten(0, -2)
    return torch.cat([flat, torch.ones(len(flat), 1)], dim=1)
