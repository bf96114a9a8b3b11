"""Everything before a run's first step: checks, base model, prior pictures, caches, optimizer."""

from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from sdstudio.datasets.places import pictures_at
from sdstudio.engine.average import Average
from sdstudio.engine.checkpoints import TrainingState
from sdstudio.engine.data import Material, TrainingData
from sdstudio.engine.distributed import first_alone, start
from sdstudio.engine.drawing import draw
from sdstudio.engine.examples import Gathered, gather, kept_snapshot
from sdstudio.engine.fused import fuse_lora
from sdstudio.engine.generate import flag_logger
from sdstudio.engine.latents import LatentCache
from sdstudio.engine.loss import noise_schedule
from sdstudio.engine.optimizers import make_optimizer, make_scheduler
from sdstudio.engine.pipeline import LoadedModel, check_side, cut_prompts, find_method, load_base, pick_device
from sdstudio.engine.run import Run, StopRequested
from sdstudio.engine.samples import SAMPLE_COUNT, default_settings
from sdstudio.engine.stages import begin_from
from sdstudio.engine.streams import derived_seed
from sdstudio.engine.text import Texts
from sdstudio.engine.validation import Validation, split
from sdstudio.jobs.context import JobContext
from sdstudio.methods.deltas import OnDisk
from sdstudio.methods.parts import Example, Sources, Trainable, named_trigger, text_encoders
from sdstudio.prompts import escape, words
from sdstudio.schema import (
    Checkpoint,
    GeneratedImage,
    LoopConfig,
    Method,
    ModelRef,
    TrainConfig,
    from_json,
    to_json,
)
from sdstudio.training.machine import check_machine
from sdstudio.training.plan import LEAST_TO_VALIDATE, Plan, make_plan
from sdstudio.words import count as counted
from sdstudio.workspace import require_space

ORIGINALS_FILE = "originals.safetensors"
"""In the run's folder, while the run is under way."""


def set_up(config: TrainConfig, ctx: JobContext) -> Run:
    """Everything before the first step. Raises UserError for what a person can mend, StopRequested when asked to."""
    loop, ws = config.loop, ctx.workspace
    method = find_method(config.method)
    options: Any = from_json(method.Options, config.method_options)
    device = pick_device()
    check_machine(loop, device.type)
    accelerator = start(loop.mixed_precision, cpu=device.type == "cpu")
    with first_alone(accelerator):
        gathered = gather(config, ws, partial(kept_snapshot, ctx), ctx.log)
    ctx.progress(0, loop.steps, "steps", "loading the base model")
    model = load_base(ws, config.base_model)
    pipeline = model.pipeline.to(device)
    side = check_side(pipeline, loop.resolution, "resolution")
    schedule = noise_schedule(pipeline)
    schedule = replace(schedule, alphas_cumprod=schedule.alphas_cumprod.to(device))
    captions = [example.caption for example in gathered.captioned]
    options = replace(options, trigger=(method.trigger or named_trigger)(captions, options))
    with first_alone(accelerator):
        examples = _examples(config, ctx, gathered, method, options, model, side)
        training, aside = split(gathered.material(examples), loop.validation_share)
    plan = _plan(config, ctx, training, aside, accelerator.num_processes)
    latents = LatentCache(ws, pipeline, model.base_hash, loop)
    torch.manual_seed(derived_seed(loop.seed, "initial weights"))
    trainable = _lean(method.prepare(pipeline, options), ctx.folder, accelerator.is_main_process)
    if config.init_checkpoint:
        begin_from(config, ctx, model, method)
    _say(ctx, trainable, pipeline, training, loop)
    texts = Texts(
        pipeline,
        model.family,
        read_weights=loop.weighted_captions,
        learns=trainable.trains_text,
        autocast=accelerator.autocast,
    )
    data = TrainingData(training, latents, texts, side, loop)
    with first_alone(accelerator):
        _encode(data, ctx, plan.steps, len(training.examples))
    _lighten(pipeline, trainable, loop, accelerator)
    optimizer = make_optimizer(trainable.groups, loop)
    scheduler = make_scheduler(optimizer, loop, plan.steps)
    unet, prepared = accelerator.prepare(pipeline.unet, optimizer)
    if loop.compile:
        unet = torch.compile(unet)
    validation = Validation(aside, latents, texts, model.family, schedule, side, loop.batch_size)
    own = [one.caption for one in training.examples if not (one.prior or one.negative)]
    return Run(
        config=config,
        ctx=ctx,
        plan=plan,
        model=model,
        method=method,
        trainable=trainable,
        data=data,
        validation=validation if aside.examples else None,
        schedule=schedule,
        accelerator=accelerator,
        unet=unet,
        optimizer=prepared,
        state=TrainingState(
            parameters=trainable.parameters,
            average=Average(trainable.parameters, loop.ema_decay),
            optimizer=optimizer,
            scheduler=scheduler,
            scaler=accelerator.scaler,
        ),
        side=side,
        record=Checkpoint(
            method=config.method,
            method_options=to_json(options),
            base_model=config.base_model,
            base_hash=model.base_hash,
            family=model.family.name,
            trigger=options.trigger,
            negative_parts=sorted({example.negative for example in examples if example.negative}),
            run=ctx.folder.name,
            step=0,
            snapshot=gathered.snapshot.hash,
        ),
        sample_prompts=loop.sample_prompts or _as_prompts(list(dict.fromkeys(own))[:SAMPLE_COUNT], loop),
    )


def _examples(
    config: TrainConfig,
    ctx: JobContext,
    gathered: Gathered,
    method: Method,
    options: Any,
    model: LoadedModel,
    side: int,
) -> list[Example]:
    """What the method chooses to learn from; it may have the base model draw pictures."""
    captioned = gathered.learned(options.trigger, config.loop)
    if method.examples is None:
        return captioned

    def draw_prior(prompts: list[str], seeds: list[int]) -> list[Path]:
        base, folder = ModelRef(base_model=config.base_model), ctx.folder / "prior"
        numbers, log_flags = count(1), flag_logger(ctx.log)

        def tell(image: GeneratedImage) -> None:
            message = f"drawing prior picture {next(numbers)} of {len(prompts)}"
            ctx.progress(0, config.loop.steps, "steps", message)
            log_flags(image)

        settings = default_settings(model.pipeline, side)
        asked = _as_prompts(prompts, config.loop)
        images = draw(model, base, asked, seeds, settings, folder, tell, ctx.should_stop)
        if len(images) < len(prompts):
            raise StopRequested
        return [folder / image.file for image in images]

    sources = Sources(draw=draw_prior, pictures=partial(pictures_at, ctx.workspace))
    chosen: list[Example] = method.examples(captioned, options, sources)
    return chosen


def _as_prompts(captions: list[str], loop: LoopConfig) -> list[str]:
    """Prompts that mean what these captions mean in training."""
    return captions if loop.weighted_captions else [escape(caption) for caption in captions]


def _plan(config: TrainConfig, ctx: JobContext, training: Material, aside: Material, processes: int) -> Plan:
    """The run's plan; says what is set aside, or why nothing is."""
    passes = training.passes()
    if aside.examples:
        ctx.log(f"{counted(len(aside.examples), 'picture')} set aside to measure the validation loss on.")
    elif config.loop.validation_share:
        ctx.log(
            f"No validation: of {counted(len(set(passes)), 'picture')} none is set aside (it takes at least "
            f"{LEAST_TO_VALIDATE} that are not near-duplicates)."
        )
    return make_plan(config.loop, len(set(passes)), len(passes), processes)


def _lean(trainable: Trainable, folder: Path, saves: bool) -> Trainable:
    """The same with its originals in a file, since only checkpoints ask for them; without them where none `saves`."""
    if not (trainable.originals and saves):
        return replace(trainable, originals={})
    size = sum(value.nbytes for value in trainable.originals.values())
    require_space(folder, size, "the base model's weights, kept beside those that learn")
    return replace(trainable, originals=OnDisk(trainable.originals, folder / ORIGINALS_FILE))


def _say(ctx: JobContext, trainable: Trainable, pipeline: Any, training: Material, loop: LoopConfig) -> None:
    """Log what learns, how fast, and which captions are cut."""
    for group in trainable.groups:
        size = sum(value.numel() for value in group.parameters.values())
        ctx.log(f"Training {group.name}: {size:,} parameters at learning rate {group.learning_rate:g}")
    captions = [example.caption for example in training.examples]
    cut = cut_prompts(pipeline, [words(one) for one in captions] if loop.weighted_captions else captions)
    if cut:
        limit = pipeline.tokenizer.model_max_length
        ctx.log(f"Longer than {limit} tokens, and not learned beyond: {len(cut)} captions, such as {cut[0]!r}")


def _encode(data: TrainingData, ctx: JobContext, steps: int, pictures: int) -> None:
    def tell(index: int) -> None:
        if index % 10 == 0:
            ctx.progress(0, steps, "steps", f"encoding picture {index + 1} of {pictures}")
        if ctx.should_stop():
            raise StopRequested

    data.encode(tell)


def _lighten(pipeline: Any, trainable: Trainable, loop: LoopConfig, accelerator: Accelerator) -> None:
    """Spend no time and memory that training does not need.

    Frozen weights take half the memory where the forward pass is in half precision anyway.
    """
    for model in (pipeline.unet, *text_encoders(pipeline).values()):
        fuse_lora(model)
    if loop.gradient_checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
        for encoder in text_encoders(pipeline).values() if trainable.trains_text else ():
            encoder.gradient_checkpointing_enable()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    if dtype is not None:
        for parameter in pipeline.unet.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)
