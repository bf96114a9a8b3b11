"""What the bundled models can do, measured on pictures and prompts that training never saw."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from transformers import BertTokenizer, BlipForConditionalGeneration, CLIPModel, CLIPTokenizer

from sdstudio.starter.build import blip
from sdstudio.starter.build.autoencoder import decibels
from sdstudio.starter.build.data import draw, held_out, scenes, to_tensor
from sdstudio.starter.build.export import MODELS
from sdstudio.starter.captions import attribute_hits, full_caption
from sdstudio.starter.world import Scene

GUIDANCE, STEPS = 3.0, 20


@cache
def pipeline() -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline.from_pretrained(MODELS / "sd", dtype=torch.float32, use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@cache
def captioner() -> tuple[BlipForConditionalGeneration, BertTokenizer]:
    model = BlipForConditionalGeneration.from_pretrained(MODELS / "blip", dtype=torch.float32)
    return model.eval(), BertTokenizer.from_pretrained(MODELS / "blip")


@torch.no_grad()
def round_trip(count: int, style: str = "world") -> float:
    """Mean peak signal-to-noise ratio of held-out pictures through the autoencoder, in dB."""
    images = to_tensor(draw(scenes(4, count, style=style)).pixels)
    vae = pipeline().vae
    decoded = torch.cat([vae.decode(vae.encode(part).latent_dist.mode()).sample for part in images.split(20)])
    return decibels(decoded, images)


@torch.no_grad()
def retrieval(count: int = 100) -> float:
    """Share of held-out pictures whose own caption is the nearest of `count`."""
    clip = CLIPModel.from_pretrained(MODELS / "clip", dtype=torch.float32).eval()
    words = CLIPTokenizer.from_pretrained(MODELS / "clip")
    pictures = held_out(count)
    tokens = words(
        [full_caption(scene) for scene in pictures.scenes], padding=True, truncation=True, return_tensors="pt"
    )
    text = F.normalize(clip.text_projection(clip.text_model(**tokens).pooler_output), dim=-1)
    pixels = pictures.batch(np.arange(count))
    image = F.normalize(clip.visual_projection(clip.vision_model(pixel_values=pixels).pooler_output), dim=-1)
    return ((image @ text.T).argmax(1) == torch.arange(count)).float().mean().item()


def captions_right(count: int, unseen: bool = False) -> float:
    """Share of visible facts that BLIP states of held-out pictures; `unseen` takes combinations never trained on."""
    pictures = draw(scenes(5, count, unseen=unseen))
    return blip.accuracy(blip.say(*captioner(), to_tensor(pictures.pixels)), pictures.scenes)


def generate(listed: list[Scene], seed: int = 0) -> np.ndarray:
    """uint8 (N, 64, 64, 3): one picture per scene from its full caption; picture i is drawn from seed + i."""
    drawn = []
    for first in range(0, len(listed), 25):
        part = listed[first : first + 25]
        drawn.append(
            pipeline()(
                [full_caption(scene) for scene in part],
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=[torch.Generator().manual_seed(seed + first + i) for i in range(len(part))],
                output_type="np",
            ).images
        )
    return (np.concatenate(drawn) * 255).round().astype(np.uint8)


def read_back(pixels: np.ndarray, listed: list[Scene]) -> tuple[float, dict[str, float]]:
    """Share of the prompted facts that BLIP finds in generated pictures, overall and by fact."""
    texts = blip.say(*captioner(), to_tensor(pixels))
    by_fact: dict[str, list[bool]] = {}
    for text, scene in zip(texts, listed, strict=True):
        for name, hit in attribute_hits(text, scene).items():
            by_fact.setdefault(name, []).append(hit)
    return blip.accuracy(texts, listed), {name: sum(hits) / len(hits) for name, hits in by_fact.items()}
