"""The loss against a plain reference written from the papers, for both prediction types."""

import math

import pytest
import torch
from diffusers import DDPMScheduler

from sdstudio.engine.loss import add_noise, min_snr_weights, snr, squared_error, target, with_prior

SCHEDULER = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
ALPHAS = SCHEDULER.alphas_cumprod


def tensors(seed: int = 0, batch: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents, noise, prediction = (torch.randn(batch, 4, 8, 8, generator=generator) for _ in range(3))
    return latents, noise, prediction, torch.tensor([0, 17, 500, 999][:batch])


def test_noise_and_velocity_are_those_of_diffusers() -> None:
    latents, noise, _, timesteps = tensors()
    assert torch.allclose(
        add_noise(latents, noise, ALPHAS, timesteps), SCHEDULER.add_noise(latents, noise, timesteps), atol=1e-6
    )
    velocity = target("v_prediction", latents, noise, ALPHAS, timesteps)
    assert torch.allclose(velocity, SCHEDULER.get_velocity(latents, noise, timesteps), atol=1e-6)
    assert target("epsilon", latents, noise, ALPHAS, timesteps) is noise


@pytest.mark.parametrize("gamma", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_loss_equals_a_plain_reference(kind: str, gamma: float) -> None:
    latents, noise, prediction, timesteps = tensors()
    expected = []
    for index, time in enumerate(timesteps.tolist()):
        alpha = ALPHAS[time].item()
        ratio = alpha / (1 - alpha)
        if kind == "epsilon":
            wanted, divisor = noise[index], ratio
        else:
            wanted = math.sqrt(alpha) * noise[index] - math.sqrt(1 - alpha) * latents[index]
            divisor = ratio + 1
        error = (
            sum(
                (a - b) ** 2
                for a, b in zip(prediction[index].flatten().tolist(), wanted.flatten().tolist(), strict=True)
            )
            / wanted.numel()
        )
        expected.append(error * (min(ratio, gamma) / divisor if gamma else 1.0))
    wanted = target(kind, latents, noise, ALPHAS, timesteps)
    weights = min_snr_weights(kind, snr(ALPHAS, timesteps), gamma)
    assert (weights * squared_error(prediction, wanted)).tolist() == pytest.approx(expected, rel=1e-6)


def test_min_snr_weights_of_noise_and_velocity_weight_the_same_error_of_x0() -> None:
    """‖x̂₀ − x₀‖² is ‖ε̂ − ε‖² / SNR and ‖v̂ − v‖² / (SNR + 1): both must come to min(SNR, γ)."""
    ratio = torch.tensor([0.01, 0.5, 4.9, 5.0, 80.0])
    wanted = ratio.clamp(max=5.0)
    assert torch.allclose(min_snr_weights("epsilon", ratio, 5.0) * ratio, wanted)
    assert torch.allclose(min_snr_weights("v_prediction", ratio, 5.0) * (ratio + 1), wanted)


def test_the_prior_is_added_as_dreambooth_does() -> None:
    losses = torch.tensor([1.0, 3.0, 10.0])
    weights = torch.tensor([1.0, 1.0, 0.5])
    prior = torch.tensor([False, False, True])
    assert with_prior(losses, weights, prior).item() == 2.0 + 0.5 * 10.0
    assert with_prior(losses[:2], weights[:2], prior[:2]).item() == 2.0
