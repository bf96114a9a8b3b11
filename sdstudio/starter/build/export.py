"""Put the trained parts into Hugging Face folders in half precision: `sdstudio/starter/models/{sd,clip,blip}`."""

from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from transformers import (
    BertTokenizer,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
)

from sdstudio.starter.build import autoencoder, blip, unet
from sdstudio.starter.build.loop import average_of

MODELS = Path(__file__).parents[1] / "models"
HALF = [0.5, 0.5, 0.5]
LIMIT_MB = 32


def build(folder: Path) -> None:
    clip = CLIPModel.from_pretrained(folder / "clip")
    clip_words = CLIPTokenizer.from_pretrained(folder / "tokenizers/clip")
    network, steps = average_of(folder / "unet.safetensors", unet.new())
    StableDiffusionPipeline(
        vae=autoencoder.finished(folder),
        text_encoder=unet.text_encoder_of(clip),
        tokenizer=clip_words,
        unet=network,
        scheduler=DPMSolverMultistepScheduler(**unet.SCHEDULE, timestep_spacing="trailing", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=torch.float16).save_pretrained(MODELS / "sd", safe_serialization=True)

    clip.half().save_pretrained(MODELS / "clip")
    square = {"height": 64, "width": 64}
    eyes = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=square, image_mean=HALF, image_std=HALF)
    CLIPProcessor(eyes, clip_words).save_pretrained(MODELS / "clip")

    blip_words = BertTokenizer.from_pretrained(folder / "tokenizers/blip")
    captioner, _ = average_of(folder / "blip.safetensors", blip.new(blip_words))
    captioner.half().save_pretrained(MODELS / "blip")
    BlipProcessor(BlipImageProcessor(size=square, image_mean=HALF, image_std=HALF), blip_words).save_pretrained(
        MODELS / "blip"
    )

    size = sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file()) / 1e6
    print(f"{MODELS}: {size:.1f} MB, U-Net after {steps} steps")
    if size > LIMIT_MB:
        raise RuntimeError(f"the starter is {size:.1f} MB, the most is {LIMIT_MB}")
