"""One batch of pictures from a pipeline, each from its own seed."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image

from sdstudio import registry
from sdstudio.sampling.forming import Estimate, estimated
from sdstudio.sampling.steering import Request, Steering, noise, steered
from sdstudio.schema import Guidance, SampleSettings, UserError, from_json

ShouldStop = Callable[[], bool]
OnStep = Callable[[int, int, Estimate], None]
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
) -> list[Sampled]:
    """One batch of pictures with their flags.

    Picture i starts from a CPU generator seeded with seeds[i], so that it does not depend on the batch. Without syntax
    in the prompt and under plain guidance the pictures are those of the plain diffusers pipeline for the same settings,
    to the byte; none when `should_stop()` turned true. `on_step(done, of, estimate)` is called after every step.
    """
    if should_stop is not None and should_stop():
        return []
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    latents = noise(pipeline, generators, width, height)
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
        if steering.before and step + 1 < len(timesteps):
            return {"latents": steering.before(step + 1, timesteps[step + 1], tensors["latents"])}
        return tensors

    with steered(pipeline, steering), estimated(pipeline, settings.guidance_scale) as estimate:
        try:
            output = pipeline(
                **steering.call,
                num_inference_steps=settings.steps,
                width=width,
                height=height,
                latents=_begun(pipeline, steering, latents, settings.steps),
                generator=generators,
                callback_on_step_end=after,
            )
        except _Stopped:
            return []
    blackened = getattr(output, "nsfw_content_detected", None) or [False] * len(seeds)
    return [
        (picture, (f"blackened by the model's own safety checker (seed {seed})",) if black else ())
        for picture, seed, black in zip(output.images, seeds, blackened, strict=True)
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
    records: Mapping[str, Guidance] = registry.load("sdstudio.guidance")
    if name not in records:
        raise UserError(f"There is no guidance {name!r}: choose one of {', '.join(sorted(records))}.")
    return records[name]
