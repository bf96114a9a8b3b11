"""Everything before a run's first step: checks, base model, prior pictures, caches, optimizer."""

from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler

from sdstudio.datasets.places import pictures_at
from sdstudio.engine.data import TrainingData, derived_seed, posteriors
from sdstudio.engine.distributed import first_alone, start
from sdstudio.engine.examples import captioned_examples, frozen_snapshot
from sdstudio.engine.generate import draw_with, flag_logger
from sdstudio.engine.loss import noise_schedule
from sdstudio.engine.pipeline import check_side, find_method, load_base, pick_device
from sdstudio.engine.run import Run, StopRequested
from sdstudio.engine.samples import SAMPLE_COUNT, default_settings
from sdstudio.jobs.context import JobContext
from sdstudio.methods.parts import Sources, named_trigger
from sdstudio.schema import Checkpoint, GeneratedImage, ModelRef, TrainConfig, UserError, from_json, to_json


def set_up(config: TrainConfig, ctx: JobContext) -> Run:
    """Everything before the first step: checks, base model, prior pictures, caches, optimizer."""
    loop, ws = config.loop, ctx.workspace
    method = find_method(config.method)
    options = from_json(method.Options, config.method_options)
    device = pick_device()
    if loop.mixed_precision == "fp16" and device.type == "cpu":
        raise UserError("fp16 needs a GPU: choose 'no' or 'bf16'.")
    accelerator = start(loop.mixed_precision, cpu=device.type == "cpu")
    with first_alone(accelerator):
        snapshot = frozen_snapshot(config, ctx)
    captioned = captioned_examples(config, ctx, snapshot)
    ctx.progress(0, loop.steps, "steps", "loading the base model")
    model = load_base(ws, config.base_model)
    pipeline = model.pipeline.to(device)
    side = check_side(pipeline, loop.resolution, "resolution")
    schedule = noise_schedule(pipeline)

    def draw(prompts: list[str], seeds: list[int]) -> list[Path]:
        base, folder = ModelRef(base_model=config.base_model), ctx.folder / "prior"
        numbers, log_flags = count(1), flag_logger(ctx.log)

        def tell(image: GeneratedImage) -> None:
            ctx.progress(0, loop.steps, "steps", f"drawing prior picture {next(numbers)} of {len(prompts)}")
            log_flags(image)

        images = draw_with(model, base, prompts, seeds, default_settings(pipeline, side), folder, tell, ctx.should_stop)
        if len(images) < len(prompts):
            raise StopRequested
        return [folder / image.file for image in images]

    captions = [example.caption for example in captioned]
    options = replace(options, trigger=(method.trigger or named_trigger)(captions, options))
    sources = Sources(draw=draw, pictures=partial(pictures_at, ws))
    with first_alone(accelerator):
        examples = method.examples(captioned, options, sources) if method.examples else captioned
        ctx.progress(0, loop.steps, "steps", "encoding pictures and captions")
        encoded = posteriors(ws, pipeline, model.base_hash, examples, side)
    data = TrainingData(
        pipeline,
        model.family,
        examples,
        encoded,
        batch_size=loop.batch_size,
        caption_dropout=loop.caption_dropout,
        seed=loop.seed,
        log=ctx.log,
    )
    torch.manual_seed(derived_seed(loop.seed, "initial weights"))
    trainable = method.prepare(pipeline, options)
    for group in trainable.groups:
        size = sum(value.numel() for value in group.parameters.values())
        ctx.log(f"Training {group.name}: {size:,} parameters at learning rate {group.learning_rate:g}")
    _halve_frozen(pipeline.unet, accelerator)
    optimizer = torch.optim.AdamW(
        [{"params": list(group.parameters.values()), "lr": group.learning_rate} for group in trainable.groups],
        weight_decay=loop.weight_decay,
    )
    scheduler = get_scheduler(
        loop.lr_scheduler, optimizer, num_warmup_steps=loop.warmup_steps, num_training_steps=loop.steps
    )
    unet, prepared = accelerator.prepare(pipeline.unet, optimizer)
    own = [example.caption for example in examples if not (example.prior or example.negative)]
    return Run(
        config=config,
        ctx=ctx,
        model=model,
        method=method,
        trainable=trainable,
        data=data,
        schedule=replace(schedule, alphas_cumprod=schedule.alphas_cumprod.to(device)),
        accelerator=accelerator,
        unet=unet,
        optimizer=prepared,
        scheduler=scheduler,
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
            snapshot=snapshot.hash,
        ),
        sample_prompts=loop.sample_prompts or list(dict.fromkeys(own))[:SAMPLE_COUNT],
    )


def _halve_frozen(unet: torch.nn.Module, accelerator: Accelerator) -> None:
    """Frozen weights take half the memory where the forward pass is in half precision anyway."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    if dtype is not None:
        for parameter in unet.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)
