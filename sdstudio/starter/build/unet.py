"""The small U-Net: v-prediction on 8x8 latents under the starter's own text encoder, with min-SNR weights.

(Salimans & Ho 2022 for v; Hang et al. 2023 for min-SNR.)
"""

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from sdstudio.starter.build.autoencoder import LATENT_CHANNELS
from sdstudio.starter.build.data import Pictures
from sdstudio.starter.build.loop import fit
from sdstudio.starter.build.tokenizers import RARE_WORDS
from sdstudio.starter.captions import varied_caption

SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}
BATCH = 24
CAPTION_DROPOUT = 0.1
MIN_SNR_GAMMA = 5.0


def new() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(112, 176),
        layers_per_block=1,
        down_block_types=["CrossAttnDownBlock2D"] * 2,
        up_block_types=["CrossAttnUpBlock2D"] * 2,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def text_encoder_of(clip: CLIPModel) -> CLIPTextModel:
    """The text tower of `clip` as the separate model that a pipeline holds."""
    encoder = CLIPTextModel(clip.config.text_config)
    encoder.load_state_dict(clip.text_model.state_dict())
    return encoder.eval().requires_grad_(False)


def build(
    folder: Path,
    pictures: Pictures,
    tokenizer: CLIPTokenizer,
    *,
    steps: int,
    device: torch.device,
    compiled: bool,
    start: UNet2DConditionModel | None = None,
) -> UNet2DConditionModel:
    text_encoder = text_encoder_of(CLIPModel.from_pretrained(folder / "clip")).to(device)
    latents = [load_file(folder / f"{name}.safetensors")["latents"] for name in ("latents", "latents-mirrored")]
    schedule = DDPMScheduler(**SCHEDULE, clip_sample=False)
    alphas = schedule.alphas_cumprod.to(device)

    def loss_of(model: nn.Module, rng: np.random.Generator, step: int) -> torch.Tensor:
        index = rng.integers(0, len(pictures.scenes), BATCH)
        words = random.Random(int(rng.integers(1 << 62)))
        captions = []
        for i in index:
            caption = varied_caption(pictures.scenes[i], words)
            if words.random() < 0.03:
                caption = f"{words.choice(RARE_WORDS)}, {caption}"
            captions.append("" if words.random() < CAPTION_DROPOUT else caption)
        tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            context = text_encoder(tokens.to(device))[0]
        clean = latents[int(rng.integers(2))][index].float().to(device).contiguous(memory_format=torch.channels_last)
        noise = torch.randn_like(clean)
        times = torch.randint(0, 1000, (BATCH,)).to(device)
        noisy = schedule.add_noise(clean, noise, times)
        with torch.autocast(device.type, torch.bfloat16):
            predicted = model(noisy, times, context, return_dict=False)[0]
        error = (predicted.float() - schedule.get_velocity(clean, noise, times)).pow(2).mean((1, 2, 3))
        snr = alphas[times] / (1 - alphas[times])
        weight = snr.clamp(max=MIN_SNR_GAMMA) / (snr + 1)
        return (error * weight).mean() / 0.5

    return fit(
        folder / "unet.safetensors", (start or new()).to(memory_format=torch.channels_last), loss_of,
        steps=steps, peak=1e-3, seed=13, device=device, ema_decay=0.9995, save_every=250, compiled=compiled,
    )  # fmt: skip
