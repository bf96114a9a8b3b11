"""How a batch begins: from noise, or from a picture that was noised part of the way, all of it or under a mask.

Image to image (Meng et al. 2022, SDEdit, arXiv:2108.01073): z_t = √ᾱ_t · z₀ + √(1 − ᾱ_t) · ε at the step that
`strength` names, denoised from there. Under a mask m (Lugmayr et al. 2022, RePaint, arXiv:2201.09865, without its
resampling): after each step z ← m · z + (1 − m) · z_t(start). Both are what diffusers' StableDiffusionImg2ImgPipeline
and StableDiffusionInpaintPipeline do, here under any guidance; a U-Net made for inpainting is not needed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from PIL import Image
from torch import Tensor

from sdstudio.sampling.steering import noise

Keep = Callable[[int, Tensor], Tensor]
"""(step, latents after it) -> the latents with what is not drawn anew put back."""


@contextmanager
def beginning(
    pipeline: DiffusionPipeline,
    generators: list[torch.Generator],
    canvas: Image.Image,
    mask: Image.Image | None,
    strength: float,
    steps: int,
) -> Iterator[tuple[Tensor, Keep]]:
    """The latents (N, C, H, W) to hand to the pipeline, picture i's from its generator, and what holds the kept part.

    For the time of the block the pipeline denoises only the last `strength` of its `steps`, at least one.
    `canvas` is RGB of the size that is drawn, `mask` L of the same size, 255 where it is drawn anew.
    """
    own = pipeline.scheduler
    done = steps - max(1, min(int(steps * strength), steps))
    late = pipeline.scheduler = _late(own, done)
    try:
        late.set_timesteps(steps, device=pipeline.unet.device)
        timesteps = late.timesteps
        start = _encoded(pipeline, canvas, generators)
        if mask is not None:
            start = start.contiguous()  # as diffusers' inpainting has it: the last bits depend on the layout
        chance = noise(pipeline, generators, canvas.width, canvas.height)
        if mask is not None and done == 0:
            own.set_timesteps(steps, device=chance.device)
            latents = chance * own.init_noise_sigma
        else:
            latents = late.add_noise(start, chance, timesteps[:1].repeat(len(start)))
        white = None if mask is None else _latent_mask(mask, start)

        def keep(step: int, latents: Tensor) -> Tensor:
            if white is None:
                return latents
            held = start
            if step + 1 < len(timesteps):
                held = late.add_noise(start, chance, timesteps[step + 1 : step + 2].repeat(len(start)))
            return (1 - white) * held + white * latents

        yield latents, keep
    finally:
        pipeline.scheduler = own


def _late(scheduler: SchedulerMixin, done: int) -> Any:
    """The same scheduler with its first `done` steps behind it; latents are given to it as they are then.

    A pipeline that asks for its timesteps sees those that are left; its own methods, which count from the first, see
    all of them.
    """
    kind: Any = type(scheduler)

    def whole(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)  # pipelines look at which arguments a step takes
        def run(self: Any, *arguments: Any, **named: Any) -> Any:
            left, self.timesteps = self.timesteps, self.all_timesteps
            try:
                return method(self, *arguments, **named)
            finally:
                self.timesteps = left

        return run

    class Late(kind):  # type: ignore[misc]
        init_noise_sigma = 1.0
        step, add_noise, scale_model_input = map(whole, (kind.step, kind.add_noise, kind.scale_model_input))

        def set_timesteps(self, *arguments: Any, **named: Any) -> None:
            super().set_timesteps(*arguments, **named)
            self.all_timesteps = self.timesteps
            self.timesteps = self.timesteps[done * self.order :]
            if hasattr(kind, "set_begin_index"):
                self.set_begin_index()

        if hasattr(kind, "set_begin_index"):

            def set_begin_index(self, begin_index: int = 0) -> None:
                super().set_begin_index(begin_index + done * self.order)

    return Late.from_config(scheduler.config)


@torch.no_grad()
def _encoded(pipeline: DiffusionPipeline, canvas: Image.Image, generators: list[torch.Generator]) -> Tensor:
    """The canvas as latents, one for each generator, which draws it from the VAE's posterior; (N, C, H, W)."""
    vae, dtype = pipeline.vae, pipeline.unet.dtype
    upcast = bool(vae.config.force_upcast) and vae.dtype != torch.float32  # SDXL's VAE overflows in half precision
    if upcast:
        vae.to(torch.float32)
    pixels = pipeline.image_processor.preprocess(canvas).to(vae.device, vae.dtype)
    drawn = torch.cat([vae.encode(pixels).latent_dist.sample(generator) for generator in generators])
    if upcast:
        vae.to(dtype)
    mean, deviation = (getattr(vae.config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is None or deviation is None:
        return (vae.config.scaling_factor * drawn).to(dtype)
    shape = (1, -1, 1, 1)
    centred = drawn.to(dtype) - torch.tensor(mean).view(shape).to(drawn.device, dtype)
    return centred * vae.config.scaling_factor / torch.tensor(deviation).view(shape).to(drawn.device, dtype)


def _latent_mask(mask: Image.Image, latents: Tensor) -> Tensor:
    """(1, 1, H, W) of zeros and ones in the latents' size, 1 where they are drawn anew."""
    rows = torch.frombuffer(bytearray(mask.tobytes()), dtype=torch.uint8).view(1, 1, mask.height, mask.width)
    white = (rows > 127).float()
    return torch.nn.functional.interpolate(white, size=latents.shape[-2:]).to(latents)
