"""Stable Diffusion 1.5's shapes with random weights: what bench/train.py --sd15 measures on a GPU."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from plain.text_to_image import PlainTrainer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sdstudio.models import STARTER

STEPS, WARM_UP = 100, 10
RECIPE = 8000


def build(folder: Path) -> None:
    """Write a diffusers folder with the published shapes; the tokenizer is the starter's."""
    torch.manual_seed(0)
    StableDiffusionPipeline(
        unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        vae=AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        ),
        tokenizer=CLIPTokenizer.from_pretrained(STARTER / "sd/tokenizer"),
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)


def measure(
    workspace: Path, pictures: Path, studio_run: Callable[..., Any], build: Callable[[Path], None] = build
) -> None:
    """LoRA at batch 1 and 8 beside the plain loop, and the first seed's whole SAM recipe."""
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "sd15"
        build(model)
        for batch in (1, 8):
            started = time.perf_counter()
            run = studio_run(
                workspace, f"gpu-{batch}", "lora", str(model), batch_size=batch, mixed_precision="bf16", compile=True
            )
            numbers = iter(range(1, 10**6))
            mine, first = rate(lambda: run.step(next(numbers)), batch, started)  # noqa: B023
            del run
            started = time.perf_counter()
            plain = PlainTrainer(model, pictures, "lora", batch, 1000, "bf16")
            theirs, other = rate(plain.step, batch, started)
            del plain
            print(f"LoRA, batch {batch}: ours {mine:.1f}, plain {theirs:.1f} pictures a second: {mine / theirs:.2f}x")
            print(f"      up to step {WARM_UP}, compiling counted: ours {first:.1f} s, plain {other:.1f} s")
        started = time.perf_counter()
        run = studio_run(
            workspace, "recipe", "sam", str(model), steps=RECIPE // 8, mixed_precision="bf16", compile=True
        )
        ready = time.perf_counter() - started
        for step in range(1, RECIPE // 8 + 1):
            run.step(step)
        whole = time.perf_counter() - started
        print(
            f"SAM, {RECIPE} pictures at 512 px in batches of 8: {whole / 60:.1f} min, of which {ready:.0f} s to begin"
        )
        print(f"most GPU memory at once: {torch.cuda.max_memory_allocated() / 2**30:.1f} GB")


def rate(step: Callable[[], object], batch: int, started: float) -> tuple[float, float]:
    """(pictures a second once warm, seconds from `started` until then)."""
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    warm = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    return batch * STEPS / (time.perf_counter() - warm), warm - started
