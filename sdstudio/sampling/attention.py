"""Where a U-Net looks for each word: its cross-attention maps, recorded as it runs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from PIL import Image
from torch import Tensor

from sdstudio.schema import UserError


@dataclass
class Recorder:
    """Attention of the layers that see the picture as `height` × `width`, as (N·heads, height·width, tokens) each."""

    height: int
    width: int
    layers: list[Tensor] = field(default_factory=list)

    def mean(self, pictures: int) -> Tensor:
        """The mean over layers and heads, (N, height, width, tokens), and a clean sheet for the next run."""
        if not self.layers:
            raise UserError("This model has no cross-attention at that resolution: choose another one, or 0.")
        maps = [layer.unflatten(0, (pictures, -1)).mean(1) for layer in self.layers]
        self.layers.clear()
        return torch.stack(maps).mean(0).unflatten(1, (self.height, self.width))


def square(attention: Tensor) -> Image.Image:
    """A word's attention (H, W) as a picture, white where it is strongest."""
    scaled = (attention / attention.max().clamp(min=1e-8) * 255).to(torch.uint8)
    return Image.fromarray(scaled.numpy())


def map_size(unet: torch.nn.Module, height: int, width: int, resolution: int) -> tuple[int, int]:
    """Height and width of the maps to look at, for latents of that size.

    `resolution` is their longer side; 0 takes the largest of at most 16, which is 16 for Stable Diffusion at 512 px.
    """
    levels = range(len(unet.config.block_out_channels))
    sizes = [(height >> level, width >> level) for level in levels]
    wanted = [size for size in sizes if min(size) > 0 and (max(size) == resolution if resolution else max(size) <= 16)]
    if not wanted:
        sides = ", ".join(str(max(size)) for size in sizes)
        raise UserError(f"There are no attention maps of side {resolution} for this size: choose 0 or one of {sides}.")
    return wanted[0]


@contextmanager
def recording(unet: torch.nn.Module, recorder: Recorder) -> Iterator[None]:
    """Let every cross-attention layer of the recorder's size write into it, for the time of the block."""
    layers = [module for name, module in unet.named_modules() if name.endswith("attn2")]
    before = {layer: layer.processor for layer in layers}
    for layer in layers:
        layer.set_processor(AttnProcessor())
        layer.get_attention_scores = _watched(layer, recorder)
    try:
        yield
    finally:
        for layer, processor in before.items():
            del layer.get_attention_scores
            layer.set_processor(processor)


def _watched(layer: Attention, recorder: Recorder) -> Any:
    compute = layer.get_attention_scores

    def scores(query: Tensor, key: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        found: Tensor = compute(query, key, attention_mask)
        if found.shape[1] == recorder.height * recorder.width:
            recorder.layers.append(found)
        return found

    return scores


def smoothed(maps: Tensor, sigma: float = 0.5) -> Tensor:
    """Maps (…, H, W) under a 3 × 3 Gaussian, edges reflected where the map is large enough for it."""
    side = torch.tensor([-1.0, 0.0, 1.0], device=maps.device)
    line = torch.exp(-(side**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    kernel = torch.outer(line, line)
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    mode = "reflect" if min(maps.shape[-2:]) > 1 else "replicate"
    padded = torch.nn.functional.pad(flat, (1, 1, 1, 1), mode=mode)
    weight = (kernel / kernel.sum()).to(maps)[None, None]
    return torch.nn.functional.conv2d(padded, weight).reshape(maps.shape)
