"""Take the bundled models as the beginning, so that a later build makes them better instead of other ones."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import BertTokenizer, BlipForConditionalGeneration, CLIPModel, CLIPTokenizer

from sdstudio.starter.build.export import MODELS


def adopt(folder: Path) -> None:
    """Lay the bundled vocabularies, CLIP and BLIP out in `folder` as if they had just been trained there."""
    CLIPTokenizer.from_pretrained(MODELS / "clip").save_pretrained(folder / "tokenizers/clip")
    BertTokenizer.from_pretrained(MODELS / "blip").save_pretrained(folder / "tokenizers/blip")
    CLIPModel.from_pretrained(MODELS / "clip", dtype=torch.float32).save_pretrained(folder / "clip")
    blip = BlipForConditionalGeneration.from_pretrained(MODELS / "blip", dtype=torch.float32)
    weights = {f"ema.{name}": value.detach().contiguous() for name, value in blip.named_parameters()}
    save_file(weights, folder / "blip.safetensors", metadata={"step": "0"})


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(MODELS / "sd", subfolder="vae", torch_dtype=torch.float32)


def unet() -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(MODELS / "sd", subfolder="unet", torch_dtype=torch.float32)
