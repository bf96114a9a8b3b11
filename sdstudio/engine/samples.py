"""The pictures that a run draws on its way: the same prompts and seeds each time."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdstudio.engine.pipeline import LoadedModel
from sdstudio.engine.sampling import sample
from sdstudio.methods.parts import is_small
from sdstudio.pictures import png_text
from sdstudio.pictures.image_folder import write_image
from sdstudio.schema import GeneratedImage, ModelRef, SampleSettings

SAMPLE_COUNT = 4


def default_settings(pipeline: Any, side: int) -> SampleSettings:
    """How a run draws its samples and prior pictures: guidance 3 for the starter, 7.5 for Stable Diffusion."""
    return SampleSettings(width=side, height=side, guidance_scale=3.0 if is_small(pipeline.unet) else 7.5)


def draw_samples(model: LoadedModel, ref: ModelRef, prompts: list[str], seed: int, side: int, folder: Path) -> None:
    """One picture of each prompt, picture i from seed + i, into `folder`, which is emptied first.

    The model must be in evaluation mode.
    """
    pipeline = model.pipeline
    shutil.rmtree(folder, ignore_errors=True)
    settings = default_settings(pipeline, side)
    sampler = type(pipeline.scheduler).__name__
    for start in range(0, len(prompts), SAMPLE_COUNT):
        chosen = prompts[start : start + SAMPLE_COUNT]
        numbers = range(start, start + len(chosen))
        seeds = [seed + number for number in numbers]
        pictures = sample(pipeline, chosen, seeds, settings, side, side)
        for number, prompt, (picture, flags) in zip(numbers, chosen, pictures, strict=True):
            image = GeneratedImage(
                file=f"{number:02d}.png",
                prompt=prompt,
                negative_prompt="",
                seed=seed + number,
                model=ref,
                checkpoint_hash="",
                settings=replace(settings, seed=seed + number),
                width=side,
                height=side,
                flags=flags,
            )
            write_image(folder, image, picture, png_text.write(image, sampler, model.base_hash, ref.label))
