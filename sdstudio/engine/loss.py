"""The diffusion loss and its weighting, for noise and velocity prediction.

Notation: x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε,  SNR(t) = ᾱ_t / (1 − ᾱ_t).
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from torch import Tensor

from sdstudio.engine.data import Batch
from sdstudio.schema import Family, LoopConfig, UserError


@dataclass(frozen=True)
class NoiseSchedule:
    """ᾱ_t for every training timestep, shape (T,), and what the U-Net predicts: 'epsilon' or 'v_prediction'."""

    alphas_cumprod: Tensor
    prediction_type: str


def noise_schedule(pipeline: DiffusionPipeline) -> NoiseSchedule:
    """The schedule that the model was made with, from its scheduler's config; a UserError when it is unsupported."""
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise UserError(f"Models with prediction type {kind!r} cannot be trained: choose another base model.")
    return NoiseSchedule(scheduler.alphas_cumprod, kind)


def snr(alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """Signal-to-noise ratio ᾱ_t / (1 − ᾱ_t) of each timestep; shape of `timesteps`."""
    alpha = alphas_cumprod[timesteps]
    return alpha / (1 - alpha)


def add_noise(latents: Tensor, noise: Tensor, alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε for latents and noise (B, C, H, W) and timesteps (B,)."""
    alpha = alphas_cumprod[timesteps][:, None, None, None]
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise


def target(prediction_type: str, latents: Tensor, noise: Tensor, alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """What the U-Net should predict: ε, or v = √ᾱ_t ε − √(1 − ᾱ_t) x_0 (Salimans & Ho 2022, arXiv:2202.00512)."""
    if prediction_type == "epsilon":
        return noise
    alpha = alphas_cumprod[timesteps][:, None, None, None]
    return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents


def min_snr_weights(prediction_type: str, ratio: Tensor, gamma: float) -> Tensor:
    """Min-SNR-γ weights of the squared error (Hang et al. 2023, arXiv:2303.09556); all 1 when γ is 0.

    min(SNR, γ) on the x_0 error is min(SNR, γ) / SNR on the ε error and min(SNR, γ) / (SNR + 1) on the v error.
    """
    if not gamma:
        return torch.ones_like(ratio)
    clipped = ratio.clamp(max=gamma)
    return clipped / ratio if prediction_type == "epsilon" else clipped / (ratio + 1)


def squared_error(prediction: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of each picture: two (B, C, H, W) -> (B,)."""
    return (prediction.float() - wanted.float()).square().mean(dim=(1, 2, 3))


def with_prior(losses: Tensor, weights: Tensor, prior: Tensor) -> Tensor:
    """L = mean over own pictures + mean over prior pictures, each loss times its example's weight.

    With weight λ on the prior pictures this is DreamBooth's equation 2 (Ruiz et al. 2022, arXiv:2208.12242).
    All three are (B,), `prior` boolean; the result is a scalar.
    """
    weighted = losses * weights
    own = weighted[~prior].mean()
    return own + weighted[prior].mean() if prior.any() else own


def errors(
    unet: torch.nn.Module,
    inputs: dict[str, Any],
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    schedule: NoiseSchedule,
) -> Tensor:
    """The U-Net's mean squared error on each picture at its timestep, (B,); `inputs` are what a family makes of text.

    Latents and noise are (B, C, H, W), timesteps (B,).
    """
    alphas = schedule.alphas_cumprod
    prediction = unet(add_noise(latents, noise, alphas, timesteps), timesteps, **inputs).sample
    wanted = target(schedule.prediction_type, latents, noise, alphas, timesteps)
    return squared_error(prediction, wanted)


def denoising_loss(
    unet: torch.nn.Module, family: Family, batch: Batch, schedule: NoiseSchedule, loop: LoopConfig
) -> Tensor:
    """The engine's loss of one batch, a scalar: min-SNR-weighted error of ε or v, plus that of the prior pictures.

    Draws noise and timesteps from torch's default CPU generator. With a noise offset o the noise is ε + o·ε', where ε'
    is one number for each picture and channel (Guttenberg 2023, https://www.crosslabs.org/blog/diffusion-with-offset-noise).
    """
    shape, device = batch.latents.shape, batch.latents.device
    noise = torch.randn(shape)
    if loop.noise_offset:
        noise = noise + loop.noise_offset * torch.randn(*shape[:2], 1, 1)
    timesteps = torch.randint(0, len(schedule.alphas_cumprod), (shape[0],)).to(device)
    inputs = family.unet_inputs(batch.text, batch.sizes)
    found = errors(unet, inputs, batch.latents, noise.to(device), timesteps, schedule)
    weights = min_snr_weights(schedule.prediction_type, snr(schedule.alphas_cumprod, timesteps), loop.min_snr_gamma)
    return with_prior(weights * found, batch.weights, batch.prior)
