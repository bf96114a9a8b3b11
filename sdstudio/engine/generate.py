"""Pictures from a model: every one with its own seed, every setting inside its PNG, nothing drawn twice."""

import hashlib
import io
import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdstudio import registry
from sdstudio.engine.metadata import png_info
from sdstudio.engine.pipeline import LoadedModel, check_side, load_model, pick_device
from sdstudio.jobs.context import JobContext
from sdstudio.methods.negatives import avoiding
from sdstudio.models import resolve_base_model, resolve_checkpoint
from sdstudio.prompts import compose
from sdstudio.sampling.prompting import tokens_used, windows
from sdstudio.sampling.steering import Request, Steering, noise, steered
from sdstudio.schema import (
    GenerateConfig,
    GeneratedImage,
    Guidance,
    ModelRef,
    SampleSettings,
    UserError,
    from_json,
    to_json,
)
from sdstudio.words import count
from sdstudio.workspace import Workspace, atomic_write

RECORDS_FILE = "images.jsonl"

OnImage = Callable[[GeneratedImage], None]
ShouldStop = Callable[[], bool]


def run_generate(config: GenerateConfig, ctx: JobContext) -> bool:
    """Draw `count` pictures of every prompt from every model, with the same seeds for each, into the job's folder.

    A job that was stopped or killed and is run again draws only what is missing. Raises UserError before anything is
    drawn when a model cannot be found or a prompt is given twice.
    """
    prompts, seeds = planned(config, ctx)
    done, total = 0, len(prompts) * len(config.models)
    ctx.progress(0, total, "pictures")

    log_flags = flag_logger(ctx.log)

    def tell(image: GeneratedImage) -> None:
        nonlocal done
        done += 1
        log_flags(image)
        ctx.progress(done, total, "pictures")

    for ref in config.models:
        ctx.log(f"Drawing {count(len(prompts), 'picture')} from {ref.label or ref.checkpoint or ref.base_model}")
        images = draw(ctx.workspace, ref, prompts, seeds, config.settings, ctx.folder, tell, ctx.should_stop)
        if len(images) < len(prompts):
            ctx.log(f"Stopped after {done} of {count(total, 'picture')}; what is drawn is kept.")
            return False
    return True


def planned(config: GenerateConfig, ctx: JobContext) -> tuple[list[str], list[int]]:
    """The prompts and seeds of the pictures that each model draws; a UserError when that could not be done."""
    if not config.prompts:
        raise UserError("There is no prompt: give at least one (an empty line draws without a prompt).")
    prompt, times = Counter(config.prompts).most_common(1)[0]
    if times > 1:
        raise UserError(f"The prompt {prompt!r} is there {times} times: give each prompt once.")
    for ref in config.models:
        resolve_base_model(ctx.workspace, ref.base_model)
        if ref.checkpoint:
            resolve_checkpoint(ctx.workspace, ref.checkpoint)
    first = _first_seed(config.settings.seed, ctx.folder)
    pairs = [(prompt, first + index) for prompt in config.prompts for index in range(config.count)]
    return [prompt for prompt, _ in pairs], [seed for _, seed in pairs]


def flag_logger(log: Callable[[str], None]) -> OnImage:
    """What logs the flags of the pictures that it is given, each flag once."""
    known: set[str] = set()

    def log_new(image: GeneratedImage) -> None:
        for flag in image.flags:
            if flag not in known:
                known.add(flag)
                log(f"Note: {flag}.")

    return log_new


def _first_seed(seed: int, folder: Path) -> int:
    """The given seed; for −1 a random one, the same when the job is run again."""
    if seed >= 0:
        return seed
    file = folder / "seed.json"
    if not file.is_file():
        atomic_write(file, json.dumps(secrets.randbelow(2**31)))
    return int(json.loads(file.read_text()))


def draw(
    ws: Workspace,
    model: ModelRef,
    prompts: list[str],
    seeds: list[int],
    settings: SampleSettings,
    folder: Path,
    on_image: OnImage | None = None,
    should_stop: ShouldStop | None = None,
) -> list[GeneratedImage]:
    """One picture per (prompts[i], seeds[i]) from `model`, as PNG files and lines of `images.jsonl` in `folder`.

    A picture that `folder` already holds with the same model weights, prompt, seed and settings is not drawn again.
    `on_image` is called with each picture, old or new. When `should_stop()` turns true, drawing ends within one
    denoising step and what is finished is returned; otherwise the result is in the order of the prompts.
    `settings.seed` is ignored. Raises UserError for a missing model, a checkpoint that does not fit, or a wrong size.
    """
    loaded = load_for_drawing(ws, model)
    return draw_with(loaded, model, prompts, seeds, settings, folder, on_image, should_stop)


def load_for_drawing(ws: Workspace, model: ModelRef) -> LoadedModel:
    """The model, in half precision where there is a GPU. Raises UserError as `load_model` does."""
    return load_model(ws, model, torch.float16 if pick_device().type == "cuda" else torch.float32)


def draw_with(
    loaded: LoadedModel,
    model: ModelRef,
    prompts: list[str],
    seeds: list[int],
    settings: SampleSettings,
    folder: Path,
    on_image: OnImage | None = None,
    should_stop: ShouldStop | None = None,
) -> list[GeneratedImage]:
    """`draw` with a model that is in memory already."""
    pipeline = loaded.family.pipeline(loaded.pipeline, settings.scheduler).to(pick_device())
    pipeline.set_progress_bar_config(disable=True)
    width, height = (
        check_side(pipeline, side, what) for side, what in ((settings.width, "width"), (settings.height, "height"))
    )
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
        )
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    wanted = [replace(image, file=_file_name(image, loaded.base_hash)) for image in wanted]
    finished = {image.file: replace(image, model=model) for image in read_images(folder)}
    for image in dict.fromkeys(image.file for image in wanted if image.file in finished):
        _tell(on_image, finished[image])
    sampler = type(pipeline.scheduler).__name__
    missing = list({image.file: image for image in wanted if image.file not in finished}.values())
    for batch in _batches(pipeline, missing, settings, asked):
        prompts, seeds = [asked[item.prompt] for item in batch], [item.seed for item in batch]
        pictures = sample(pipeline, prompts, seeds, settings, width, height, should_stop)
        for image, (picture, flags) in zip(batch, pictures, strict=False):
            item = replace(image, flags=image.flags + flags)
            write_image(folder, item, picture, png_info(item, sampler, loaded.base_hash, loaded.label))
            finished[item.file] = item
            _tell(on_image, item)
        if len(pictures) < len(batch):
            break
    return [finished[image.file] for image in wanted if image.file in finished]


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


@torch.no_grad()
def sample(
    pipeline: DiffusionPipeline,
    prompts: list[str],
    seeds: list[int],
    settings: SampleSettings,
    width: int,
    height: int,
    should_stop: ShouldStop | None = None,
) -> list[tuple[Image.Image, tuple[str, ...]]]:
    """One batch of pictures with their flags.

    Picture i starts from a CPU generator seeded with seeds[i], so that it does not depend on the batch. Without syntax
    in the prompt and under plain guidance the pictures are those of the plain diffusers pipeline for the same settings,
    to the byte; none when `should_stop()` turned true.
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
    stopped = False

    def after(pipe: DiffusionPipeline, step: int, timestep: torch.Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal stopped
        if should_stop is not None and should_stop():
            stopped = pipe._interrupt = True
        elif steering.before and step + 1 < len(pipe.scheduler.timesteps):
            return {"latents": steering.before(step + 1, pipe.scheduler.timesteps[step + 1], tensors["latents"])}
        return tensors

    with steered(pipeline, steering):
        output = pipeline(
            **steering.call,
            num_inference_steps=settings.steps,
            width=width,
            height=height,
            latents=_begun(pipeline, steering, latents, settings.steps),
            generator=generators,
            callback_on_step_end=after,
        )
    if stopped:
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


def read_images(folder: Path) -> list[GeneratedImage]:
    """The pictures that `images.jsonl` lists and that are there; a line torn by a crash is passed over."""
    try:
        lines = (folder / RECORDS_FILE).read_text(encoding="utf-8").split("\n")  # prompts may hold other line ends
    except FileNotFoundError:
        return []
    images = []
    for line in lines:
        try:
            image = from_json(GeneratedImage, json.loads(line))
        except (json.JSONDecodeError, UserError):
            continue
        if (folder / image.file).is_file():
            images.append(image)
    return images


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
    ]
    key = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:12]
    words = re.sub(r"[^a-z0-9]+", "-", image.prompt.lower())[:40].strip("-") or "no-prompt"
    return f"{words}-{image.seed}-{key}.png"


def write_image(folder: Path, image: GeneratedImage, picture: Image.Image, info: PngInfo) -> None:
    """Write the PNG and then its line in `images.jsonl`, so that a listed picture is always there."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    atomic_write(folder / image.file, buffer.getvalue())
    list_image(folder, image)


def list_image(folder: Path, image: GeneratedImage) -> None:
    """Add the line of a picture that lies in the folder."""
    with (folder / RECORDS_FILE).open("ab+") as file:
        if file.seek(0, io.SEEK_END):
            file.seek(-1, io.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")  # ends a line that a crash has torn
        file.write(json.dumps(to_json(image), ensure_ascii=False).encode() + b"\n")


def _tell(on_image: OnImage | None, image: GeneratedImage) -> None:
    if on_image is not None:
        on_image(image)
