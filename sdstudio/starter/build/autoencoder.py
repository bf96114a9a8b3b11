"""A stock AutoencoderKL whose encoder is computed, not trained, and whose decoder is trained.

Principal components of 8x8 patches are the best linear code, and a U-Net can start to learn on them at once. They
are written into the encoder's convolutions exactly: residual branches are zero, x is carried as the pair (x, -x)
because silu(x) - silu(-x) = x, and large constant channels keep the last group norm from changing anything.
"""

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn

from sdstudio.starter.build.data import Pictures, draw, scenes, to_tensor
from sdstudio.starter.build.loop import average_of, fit

LATENT_CHANNELS, PATCH = 48, 8
WIDTHS = (16, 48, 64, 128)
GROUPS = 8
LARGE = 24.0
BATCH = 8


def new() -> AutoencoderKL:
    levels = len(WIDTHS)
    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=GROUPS,
        sample_size=64,
        scaling_factor=1.0,
        force_upcast=False,
    )


def patches(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) to (B, H/8, W/8, 192)."""
    b, c, h, w = images.shape
    return (
        images.view(b, c, h // PATCH, PATCH, w // PATCH, PATCH)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(b, h // PATCH, w // PATCH, -1)
    )


def encode(components: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) in [-1, 1] to latents (B, 48, H/8, W/8), as the finished encoder gives them."""
    return (patches(images) @ components["encode"] + components["bias"]).permute(0, 3, 1, 2).contiguous()


def principal_components(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """The linear code of patches: `encode` (192, 48) and `bias` (48).

    Each component is divided by the root of its deviation, then all of them are scaled to deviation 1.
    """
    flat = patches(images).reshape(-1, 3 * PATCH * PATCH)
    mean = flat.mean(0)
    variance, axes = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
    axes, deviation = axes.flip(1)[:, :LATENT_CHANNELS], variance.flip(0)[:LATENT_CHANNELS].sqrt()
    project = axes / deviation.sqrt()
    project = project / ((flat - mean) @ project).std()
    return {"encode": project, "bias": -(mean @ project)}


def build_encoder(folder: Path, pictures: Pictures, shapes: Pictures, start: AutoencoderKL | None = None) -> None:
    """Write `components.safetensors` and the latents of all training pictures, as they are and mirrored.

    `start` is an autoencoder whose encoder is to be kept.
    """
    sample = np.concatenate([pictures.pixels[:3000], shapes.pixels[:1400]])
    components = read_components(start) if start else principal_components(to_tensor(sample))
    save_file({key: value.contiguous() for key, value in components.items()}, folder / "components.safetensors")
    for name, flip in (("latents", False), ("latents-mirrored", True)):
        parts = []
        for first in range(0, len(pictures.pixels), 1000):
            images = to_tensor(pictures.pixels[first : first + 1000])
            parts.append(encode(components, images.flip(-1) if flip else images).half())
        save_file({"latents": torch.cat(parts)}, folder / f"{name}.safetensors")


@torch.no_grad()
def write_encoder(vae: AutoencoderKL, components: dict[str, torch.Tensor]) -> None:
    """Put the projection into the weights of `vae.encoder` and `vae.quant_conv`."""
    encoder = vae.encoder
    for parameter in encoder.parameters():
        parameter.zero_()
    for module in encoder.modules():
        if isinstance(module, nn.GroupNorm):
            module.weight.fill_(1.0)
    for channel in range(3):
        encoder.conv_in.weight[channel, channel, 1, 1] = 1
    carried = 3
    for level in range(3):
        block = encoder.down_blocks[level]
        shortcut = block.resnets[0].conv_shortcut
        if shortcut is not None:
            for channel in range(carried):
                shortcut.weight[channel, channel, 0, 0] = 1
        convolution = block.downsamplers[0].conv
        if level < 2:
            # The taps (0..1, 0..1) of the strided convolution are the 2x2 patch: 4 times the channels, nothing lost.
            for channel in range(carried):
                for i in range(2):
                    for j in range(2):
                        convolution.weight[channel * 4 + i * 2 + j, channel, i, j] = 1
            carried *= 4
        else:
            taps = components["encode"].T.reshape(
                LATENT_CHANNELS, 3, 2, 2, 2, 2, 2, 2
            )  # (K, c, y4, y2, y1, x4, x2, x1)
            # A carried channel is ((c * 4 + y1 x1) * 4 + y2 x2); what is left for this convolution is (y4, x4).
            ordered = taps.permute(0, 1, 4, 7, 3, 6, 2, 5).reshape(LATENT_CHANNELS, carried, 2, 2)
            convolution.weight[:LATENT_CHANNELS, :carried, :2, :2] = ordered
            convolution.bias[:LATENT_CHANNELS] = components["bias"]
    width = WIDTHS[-1] // GROUPS
    pairs = LATENT_CHANNELS // GROUPS
    shortcut = encoder.down_blocks[3].resnets[0].conv_shortcut
    constants = width - 2 * pairs
    deviation = math.sqrt((constants * LARGE**2 + 2 * pairs) / width)
    for group in range(GROUPS):
        first = group * width
        for pair in range(pairs):
            channel = group * pairs + pair
            for offset, sign in ((0, 1.0), (1, -1.0)):
                at = first + 2 * pair + offset
                shortcut.weight[at, channel, 0, 0] = sign
                encoder.conv_out.weight[channel, at, 1, 1] = sign * deviation
        for constant in range(constants):
            shortcut.bias[first + 2 * pairs + constant] = LARGE if constant % 2 else -LARGE
    encoder.conv_out.bias[LATENT_CHANNELS:] = -14.0  # log variance
    vae.quant_conv.weight.zero_()
    vae.quant_conv.bias.zero_()
    for channel in range(2 * LATENT_CHANNELS):
        vae.quant_conv.weight[channel, channel, 0, 0] = 1


@torch.no_grad()
def read_components(vae: AutoencoderKL) -> dict[str, torch.Tensor]:
    """What `write_encoder` put into `vae`, read back."""
    convolution = vae.encoder.down_blocks[2].downsamplers[0].conv
    ordered = convolution.weight[:LATENT_CHANNELS, :LATENT_CHANNELS, :2, :2].float()
    taps = ordered.reshape(LATENT_CHANNELS, 3, 2, 2, 2, 2, 2, 2).permute(0, 1, 6, 4, 2, 7, 5, 3)
    return {
        "encode": taps.reshape(LATENT_CHANNELS, -1).T.contiguous(),
        "bias": convolution.bias[:LATENT_CHANNELS].float().clone(),
    }


def decibels(a: torch.Tensor, b: torch.Tensor) -> float:
    """Peak signal-to-noise ratio of pictures in [-1, 1], in dB."""
    return -10 * math.log10((a.clamp(-1, 1) - b).div(2).pow(2).mean().item())


def build_decoder(
    folder: Path,
    pictures: Pictures,
    shapes: Pictures,
    *,
    steps: int,
    device: torch.device,
    start: AutoencoderKL | None = None,
) -> AutoencoderKL:
    components = load_file(folder / "components.safetensors")
    vae = start or _quiet(new())
    vae.requires_grad_(False)
    vae.decoder.requires_grad_(True)
    vae.post_quant_conv.requires_grad_(True)
    vae.to(memory_format=torch.channels_last)
    check = {
        "world": draw(scenes(2, 24)),
        "style": draw(scenes(2, 24, style="asim")),
        "mascot": draw(scenes(2, 24, who="monster")),
    }

    def loss_of(model: nn.Module, rng: np.random.Generator, step: int) -> torch.Tensor:
        world = np.sort(rng.integers(0, len(pictures.pixels), BATCH // 2))
        other = np.sort(rng.integers(0, len(shapes.pixels), BATCH // 2))
        images = torch.cat([pictures.batch(world), shapes.batch(other)])
        latents = encode(components, images).to(device)
        latents = latents + 0.02 * torch.randn_like(latents)
        images = images.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            decoded = model.decode(latents.contiguous(memory_format=torch.channels_last)).sample
        error = decoded.float() - images
        edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        return error.abs().mean() + 3 * error.pow(2).mean() + 0.3 * edges

    @torch.no_grad()
    def evaluate(model: nn.Module) -> str:
        said = []
        for name, held in check.items():
            images = held.batch(np.arange(24))
            decoded = model.decode(encode(components, images).to(device)).sample.float().cpu()
            said.append(f"{name} {decibels(decoded, images):.2f} dB")
        return "  ".join(said)

    return fit(
        folder / "decoder.safetensors", vae, loss_of,
        steps=steps, peak=2e-3, seed=12, device=device, evaluate=evaluate, ema_decay=0.998, weight_decay=1e-4,
    )  # fmt: skip


def _quiet(vae: AutoencoderKL) -> AutoencoderKL:
    """Let the decoder's residual branches begin at zero."""
    for name, module in vae.decoder.named_modules():
        if name.endswith("conv2"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return vae


def finished(folder: Path) -> AutoencoderKL:
    """The autoencoder with the computed encoder and the decoder as far as it is trained."""
    vae = new()
    average_of(folder / "decoder.safetensors", vae)
    write_encoder(vae, load_file(folder / "components.safetensors"))
    return vae
