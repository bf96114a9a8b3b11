"""One batch of pictures from a pipeline, each from its own seed."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from sdstudio import registry
from sdstudio.pictures.start_pictures import OpenStart
from sdstudio.sampling.forming import Estimate, estimated
from sdstudio.sampling.start import Keep, beginning
from sdstudio.sampling.steering import Request, Steering, noise, steered
from sdstudio.schema import Guidance, SampleSettings, from_json

ShouldStop = Callable[[], bool]
OnStep = Callable[[int, int, Estimate], None]
OnMaps = Callable[[list[dict[str, torch.Tensor]]], None]
Sampled = tuple[Image.Image, tuple[str, ...]]
"""A picture and its flags."""


class _Stopped(Exception):
    """Leaves the pipeline without the decoding that follows its last step."""


@torch.no_grad()
def sample(
    pipeline: DiffusionPipeline,
    prompts: list[str],
    seeds: list[int],
    settings: SampleSettings,
    width: int,
    height: int,
    should_stop: ShouldStop | None = None,
    on_step: OnStep | None = None,
    start: OpenStart | None = None,
    on_maps: OnMaps | None = None,
) -> list[Sampled]:
    """One batch of pictures with their flags, begun from noise or, part of the way, from `start` in that size.

    Picture i starts from a CPU generator seeded with seeds[i], so that it does not depend on the batch. Without syntax
    in the prompt and under plain guidance the pictures are those of the plain diffusers pipeline for the same settings,
    to the byte; none when `should_stop()` turned true. `on_step(done, of, estimate)` is called after every step.
    `on_maps` is called in the end where the guidance knows where it looked for each word.
    """
    if should_stop is not None and should_stop():
        return []
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    asked = (pipeline, prompts, generators, settings, should_stop, on_step, on_maps)
    if start is None:
        return _denoised(*asked, noise(pipeline, generators, width, height), None)
    begun = beginning(pipeline, generators, start.canvas, start.mask, start.settings.strength, settings.steps)
    with begun as (latents, keep):
        return [(start.joined(picture), flags) for picture, flags in _denoised(*asked, latents, keep)]


def _denoised(
    pipeline: DiffusionPipeline,
    prompts: list[str],
    generators: list[torch.Generator],
    settings: SampleSettings,
    should_stop: ShouldStop | None,
    on_step: OnStep | None,
    on_maps: OnMaps | None,
    latents: torch.Tensor,
    keep: Keep | None,
) -> list[Sampled]:
    """The pictures that `latents` become; `keep` puts back, after each step, what is not to be drawn."""
    guidance = find_guidance(settings.guidance)
    steering: Steering = guidance.steer(
        Request(
            pipeline=pipeline,
            prompts=prompts,
            negative_prompts=[settings.negative_prompt] * len(prompts),
            guidance_scale=settings.guidance_scale,
            steps=settings.steps,
            latents=latents,
            clip_skip=settings.clip_skip,
        ),
        from_json(guidance.Options, settings.guidance_options),
    )

    def after(pipe: DiffusionPipeline, step: int, timestep: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        timesteps = pipe.scheduler.timesteps
        if on_step is not None:
            on_step(step + 1, len(timesteps), estimate)
        if should_stop is not None and should_stop():
            raise _Stopped
        formed = tensors["latents"] if keep is None else keep(step, tensors["latents"])
        if steering.before and step + 1 < len(timesteps):
            formed = steering.before(step + 1, timesteps[step + 1], formed)
        return {"latents": formed}

    with steered(pipeline, steering), estimated(pipeline, settings.guidance_scale) as estimate:
        try:
            output = pipeline(
                **steering.call,
                num_inference_steps=settings.steps,
                width=latents.shape[-1] * pipeline.vae_scale_factor,
                height=latents.shape[-2] * pipeline.vae_scale_factor,
                latents=_begun(pipeline, steering, latents, settings.steps),
                generator=generators,
                callback_on_step_end=after,
            )
        except _Stopped:
            return []
    if on_maps is not None and steering.maps is not None:
        on_maps(steering.maps())
    blackened = getattr(output, "nsfw_content_detected", None) or [False] * len(prompts)
    return [
        (picture, (f"blackened by the model's own safety checker (seed {generator.initial_seed()})",) if black else ())
        for picture, generator, black in zip(output.images, generators, blackened, strict=True)
    ]


def _begun(pipeline: DiffusionPipeline, steering: Steering, latents: torch.Tensor, steps: int) -> torch.Tensor:
    """The noise after what the steering does before the first step, again of deviation 1 as pipelines take it."""
    if steering.before is None:
        return latents
    pipeline.scheduler.set_timesteps(steps, device=latents.device)
    spread = pipeline.scheduler.init_noise_sigma
    return steering.before(0, pipeline.scheduler.timesteps[0], latents * spread) / spread


def find_guidance(name: str) -> Guidance:
    """The guidance plug-in of this name; a UserError naming those that exist otherwise."""
    guidance: Guidance = registry.find("sdstudio.guidance", "guidance", name)
    return guidance
