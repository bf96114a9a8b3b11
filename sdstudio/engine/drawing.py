"""Pictures from a model into a folder: every setting inside each PNG, nothing drawn twice."""

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diffusers import DiffusionPipeline
from torch import Tensor

from sdstudio.engine.memory import free_memory, is_out_of_memory
from sdstudio.engine.pipeline import LoadedModel, check_side, latent_factor, own_size, pick_device
from sdstudio.engine.sampling import OnStep, Sampled, ShouldStop, sample
from sdstudio.methods.negatives import avoiding
from sdstudio.pictures import png_text
from sdstudio.pictures.attention_maps import write_maps
from sdstudio.pictures.image_folder import list_image, read_images, write_image
from sdstudio.pictures.start_pictures import OpenStart
from sdstudio.prompts import compose
from sdstudio.sampling.attention import square
from sdstudio.sampling.prompting import tokens_used, windows
from sdstudio.schema import GeneratedImage, ModelRef, SampleSettings, UserError, to_json
from sdstudio.words import count
from sdstudio.workspace import atomic_write

OnImage = Callable[[GeneratedImage], None]


def draw(
    loaded: LoadedModel,
    model: ModelRef,
    prompts: list[str],
    seeds: list[int],
    settings: SampleSettings,
    folder: Path,
    on_image: OnImage | None = None,
    should_stop: ShouldStop | None = None,
    on_step: OnStep | None = None,
    start: OpenStart | None = None,
    elsewhere: Mapping[str, Path] = MappingProxyType({}),
    deleted: Collection[str] = (),
) -> list[GeneratedImage]:
    """One picture per (prompts[i], seeds[i]) from a model in memory, as PNG files and lines of `images.jsonl`.

    A picture that `folder` already holds with the same model weights, prompt, seed and settings is not drawn again.
    `on_image` is called with each picture, old or new; `on_step` is told of each step of each batch, as by `sample`.
    When `should_stop()` turns true, drawing ends within one denoising step and what is finished is returned; otherwise
    the result is in the order of the prompts. `settings.seed` is ignored. Raises UserError for a wrong size.

    With a `start` every picture is begun from it, in its size where the settings ask for none. Where the memory is too
    small for a batch, it is drawn in smaller ones, which its pictures' flags say. A picture that lies `elsewhere`, by
    the name that it would get here, is copied instead of drawn. One whose file's name is among the `deleted` is in the
    result but neither drawn again nor told of.
    """
    pipeline = loaded.family.pipeline(loaded.pipeline, settings.scheduler).to(pick_device())
    pipeline.set_progress_bar_config(disable=True)
    width, height = _size(pipeline, settings, start)
    start = start.resized(width, height) if start else None
    asked = {prompt: avoiding(prompt, loaded.negative_parts) for prompt in prompts}
    cut = _cut_flags(pipeline, list(asked.values()), settings.negative_prompt)
    wanted = [
        GeneratedImage(
            file="",
            prompt=prompt,
            negative_prompt=settings.negative_prompt,
            seed=seed,
            model=model,
            checkpoint_hash=loaded.checkpoint_hash,
            settings=replace(settings, seed=seed),
            width=width,
            height=height,
            flags=loaded.flags + cut[asked[prompt]],
            start=start.settings if start else None,
        )
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    wanted = [replace(image, file=_file_name(image, loaded.base_hash)) for image in wanted]
    finished = {image.file: replace(image, model=model) for image in read_images(folder)}
    gone = {image.file: image for image in wanted if image.file in deleted and image.file not in finished}
    missing = {image.file: image for image in wanted if image.file not in finished | gone}
    finished |= _taken_over(list(missing.values()), elsewhere, folder)
    for image in dict.fromkeys(image.file for image in wanted if image.file in finished):
        _tell(on_image, finished[image])
    sampler = type(pipeline.scheduler).__name__
    finished |= gone
    left = [image for image in missing.values() if image.file not in finished]
    batches = deque(_batches(pipeline, left, settings, asked))
    while batches:
        batch = batches.popleft()
        prompts, seeds = [asked[item.prompt] for item in batch], [item.seed for item in batch]
        maps: list[dict[str, Tensor]] = []
        pictures = _sampled(pipeline, prompts, seeds, settings, width, height, should_stop, on_step, start, maps.extend)
        if pictures is None:
            batches = deque(_smaller([batch, *batches]))
            continue
        for image, (picture, flags) in zip(batch, pictures, strict=False):
            item = replace(image, flags=image.flags + flags)
            write_image(folder, item, picture, png_text.write(item, sampler, loaded.base_hash, loaded.label))
            finished[item.file] = item
            _tell(on_image, item)
        for image, words in zip(batch, maps, strict=False):
            write_maps(folder, image.file, [square(attention) for attention in words.values()])
        if len(pictures) < len(batch):
            break
    return [finished[image.file] for image in wanted if image.file in finished]


def _taken_over(images: list[GeneratedImage], elsewhere: Mapping[str, Path], folder: Path) -> dict[str, GeneratedImage]:
    """Those of `images` that lie elsewhere, now in `folder` too with what is said of them there."""
    found: dict[str, GeneratedImage] = {}
    for image in images:
        if image.file not in elsewhere or image.file in found:
            continue
        try:
            said = png_text.read(elsewhere[image.file]).image
            data = elsewhere[image.file].read_bytes()
        except (UserError, OSError):
            continue  # it went away: it is drawn
        if said is not None and said.file == image.file:
            atomic_write(folder / image.file, data)
            found[image.file] = replace(image, flags=said.flags)
            list_image(folder, found[image.file])
    return found


def _size(pipeline: DiffusionPipeline, settings: SampleSettings, start: OpenStart | None) -> tuple[int, int]:
    if start is not None and not (settings.width or settings.height):
        return start.size(own_size(pipeline), max(8, latent_factor(pipeline)))
    return check_side(pipeline, settings.width, "width"), check_side(pipeline, settings.height, "height")


def _sampled(pipeline: DiffusionPipeline, prompts: list[str], *rest: Any) -> list[Sampled] | None:
    """As `sample`; None where the memory is too small for so many pictures, a UserError where it is for one."""
    try:
        return sample(pipeline, prompts, *rest)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    free_memory()
    if len(prompts) == 1:
        raise UserError(
            "The memory is too small for one picture of this size; what is drawn is kept: choose a smaller width and "
            "height, or end what else runs on this device."
        )
    return None


def _smaller(batches: list[list[GeneratedImage]]) -> list[list[GeneratedImage]]:
    """All batches cut to half the first one's size, and flagged for it."""
    size = len(batches[0]) // 2
    flag = f"drawn {size} at a time, for the memory is too small for more"
    known = re.compile(r"drawn \d+ at a time, ")

    def flagged(image: GeneratedImage) -> GeneratedImage:
        others = tuple(flag for flag in image.flags if not known.match(flag))
        return replace(image, flags=(*others, flag))

    cut = [batch[start : start + size] for batch in batches for start in range(0, len(batch), size)]
    return [[flagged(image) for image in batch] for batch in cut]


def _batches(
    pipeline: DiffusionPipeline, images: list[GeneratedImage], settings: SampleSettings, asked: dict[str, str]
) -> Iterator[list[GeneratedImage]]:
    """Pictures to draw together: those whose prompts are equally long in windows, lest one changes another's.

    `asked` is the text that the model gets for each prompt.
    """
    longest: dict[int, list[GeneratedImage]] = {}
    for image in images:
        texts = [part.prompt for part in compose(asked[image.prompt])]
        longest.setdefault(windows(pipeline, [*texts, settings.negative_prompt]), []).append(image)
    for alike in longest.values():
        for start in range(0, len(alike), settings.batch_size):
            yield alike[start : start + settings.batch_size]


def _cut_flags(pipeline: DiffusionPipeline, prompts: list[str], negative_prompt: str) -> dict[str, tuple[str, ...]]:
    """For each prompt, how much of it and of the negative prompt is not read, since only so many windows are."""

    def flags(text: str, what: str) -> tuple[str, ...]:
        parts = compose(text)
        lost = sum(used - read for used, read in (tokens_used(pipeline, part.prompt) for part in parts))
        return (f"{what} too long: its last {count(lost, 'token')} are not read",) if lost else ()

    return {prompt: flags(prompt, "prompt") + flags(negative_prompt, "negative prompt") for prompt in prompts}


def _file_name(image: GeneratedImage, base_hash: str) -> str:
    """Prompt and seed to read, and a key of everything that decides the pixels."""
    deciding = [
        base_hash,
        image.checkpoint_hash,
        image.prompt,
        image.negative_prompt,
        image.seed,
        image.width,
        image.height,
        image.settings.steps,
        image.settings.guidance_scale,
        image.settings.scheduler,
        image.settings.clip_skip,
        image.settings.guidance,
        image.settings.guidance_options,
        *([to_json(image.start)] if image.start else []),
    ]
    key = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]
    words = re.sub(r"[^a-z0-9]+", "-", image.prompt.lower())[:40].strip("-") or "no-prompt"
    return f"{words}-{image.seed}-{key}.png"


def _tell(on_image: OnImage | None, image: GeneratedImage) -> None:
    if on_image is not None:
        on_image(image)
