"""The training loop that every method shares."""

import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers.optimization import get_scheduler
from torch import Tensor

from sdstudio.datasets import open_dataset
from sdstudio.engine.checkpoints import load_state, save_state, write_checkpoint
from sdstudio.engine.data import Batch, TrainingData, derived_seed, posteriors
from sdstudio.engine.generate import draw_with, flag_logger, sample, write_image
from sdstudio.engine.loss import (
    NoiseSchedule,
    add_noise,
    min_snr_weights,
    noise_schedule,
    snr,
    squared_error,
    target,
    with_prior,
)
from sdstudio.engine.metadata import png_info
from sdstudio.engine.pipeline import LoadedModel, check_side, find_method, load_base, pick_device
from sdstudio.jobs.context import METRICS_FILE, JobContext
from sdstudio.methods.parts import Example, Trainable, is_small, shared_trigger
from sdstudio.models import latest_checkpoint
from sdstudio.schema import (
    Checkpoint,
    Family,
    GeneratedImage,
    Method,
    ModelRef,
    SampleSettings,
    Snapshot,
    TrainConfig,
    UserError,
    from_json,
    to_json,
)
from sdstudio.workspace import atomic_write, read_json, write_json

SNAPSHOT_FILE = "snapshot.json"
SAMPLE_COUNT = 4
LOG_LINES = 10


class StopRequested(Exception):
    """Somebody asked the run to end before its first step."""


def run_train(config: TrainConfig, ctx: JobContext) -> bool:
    """Train by `config` into the run's folder; go on from its newest good checkpoint where there is one.

    A stop request is answered with a checkpoint after the step in hand. What step k does depends on the config and k
    alone, so that a run that was killed and goes on equals one that was not, to the bit on one machine.
    Raises UserError for what a person can mend; a loss that is not a number ends the run before it touches a weight.
    """
    try:
        run = set_up(config, ctx)
    except StopRequested:
        ctx.log("Stopped before the first step.")
        return False
    step = run.resume()
    while step < config.loop.steps and not ctx.should_stop():
        step += 1
        numbers = run.step(step)
        ctx.metrics(step=step, **numbers)
        ctx.progress(step, config.loop.steps, "steps")
        last = step == config.loop.steps
        if last or step % -(-config.loop.steps // LOG_LINES) == 0:
            ctx.log(f"Step {step} of {config.loop.steps}: loss {numbers['loss']:.4f}, rate {numbers['lr']:.2e}")
        if last or step % config.loop.checkpoint_every == 0:
            run.checkpoint(step)
        if config.loop.sample_every and (last or step % config.loop.sample_every == 0):
            run.samples(step)
    if step < config.loop.steps:
        run.checkpoint(step)
        ctx.log(f"Stopped after step {step} of {config.loop.steps}; the checkpoint is kept.")
    return step == config.loop.steps


def set_up(config: TrainConfig, ctx: JobContext) -> "Run":
    """Everything before the first step: checks, base model, prior pictures, caches, optimizer."""
    loop, ws = config.loop, ctx.workspace
    method = find_method(config.method)
    options = from_json(method.Options, config.method_options)
    snapshot = _frozen_snapshot(config, ctx)
    captioned = _captioned(config, ctx, snapshot)
    device = pick_device()
    if loop.mixed_precision == "fp16" and device.type == "cpu":
        raise UserError("fp16 needs a GPU: choose 'no' or 'bf16'.")
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

        images = draw_with(model, base, prompts, seeds, _settings(pipeline, side), folder, tell, ctx.should_stop)
        if len(images) < len(prompts):
            raise StopRequested
        return [folder / image.file for image in images]

    examples = method.examples(captioned, options, draw) if method.examples else captioned
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
    AcceleratorState._reset_state()  # an earlier run of this process must not fix this one's number format
    accelerator = Accelerator(mixed_precision=loop.mixed_precision, cpu=device.type == "cpu")
    _halve_frozen(pipeline.unet, accelerator)
    optimizer = torch.optim.AdamW(
        [{"params": list(group.parameters.values()), "lr": group.learning_rate} for group in trainable.groups],
        weight_decay=loop.weight_decay,
    )
    scheduler = get_scheduler(
        loop.lr_scheduler, optimizer, num_warmup_steps=loop.warmup_steps, num_training_steps=loop.steps
    )
    unet, prepared = accelerator.prepare(pipeline.unet, optimizer)
    captions = [example.caption for example in captioned]
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
            trigger=shared_trigger(captions, options.trigger),
            run=ctx.folder.name,
            step=0,
            snapshot=snapshot.hash,
        ),
        sample_prompts=loop.sample_prompts or list(dict.fromkeys(captions))[:SAMPLE_COUNT],
    )


def _frozen_snapshot(config: TrainConfig, ctx: JobContext) -> Snapshot:
    """The snapshot that the run began with, kept in its folder; at the first start the named one or one taken now."""
    kept = ctx.folder / SNAPSHOT_FILE
    if kept.is_file():
        return from_json(Snapshot, read_json(kept))
    if not config.dataset:
        raise UserError("No dataset is named: choose the one to learn from.")
    store = open_dataset(ctx.workspace, config.dataset)
    snapshot = store.load_snapshot(config.snapshot) if config.snapshot else store.snapshot()
    write_json(kept, to_json(snapshot))
    return snapshot


def _captioned(config: TrainConfig, ctx: JobContext, snapshot: Snapshot) -> list[Example]:
    store = open_dataset(ctx.workspace, snapshot.dataset)
    if not snapshot.images:
        raise UserError(f"The dataset {snapshot.dataset!r} is empty: import pictures first.")
    captioned = [image for image in snapshot.images if image.caption.strip()]
    if not captioned:
        raise UserError(f"No picture of {snapshot.dataset!r} has a caption: write or draft captions first (Annotate).")
    left_out = len(snapshot.images) - len(captioned)
    if left_out:
        ctx.log(f"{left_out} of {len(snapshot.images)} pictures have no caption and are left out.")
    return [Example(path=store.image_path(image.id), caption=image.caption) for image in captioned]


def _halve_frozen(unet: torch.nn.Module, accelerator: Accelerator) -> None:
    """Frozen weights take half the memory where the forward pass is in half precision anyway."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    if dtype is not None:
        for parameter in unet.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)


def _settings(pipeline: Any, side: int) -> SampleSettings:
    """How a run draws its samples and prior pictures: guidance 3 for the starter, 7.5 for Stable Diffusion."""
    return SampleSettings(width=side, height=side, guidance_scale=3.0 if is_small(pipeline.unet) else 7.5)


def denoising_loss(
    unet: torch.nn.Module, family: Family, batch: Batch, schedule: NoiseSchedule, gamma: float
) -> Tensor:
    """The engine's loss of one batch, a scalar: min-SNR-weighted error of ε or v, plus that of the prior pictures."""
    device = batch.latents.device
    noise = torch.randn(batch.latents.shape).to(device)
    timesteps = torch.randint(0, len(schedule.alphas_cumprod), (len(batch.latents),)).to(device)
    alphas = schedule.alphas_cumprod
    noisy = add_noise(batch.latents, noise, alphas, timesteps)
    prediction = unet(noisy, timesteps, **family.unet_inputs(batch.text, batch.sizes)).sample
    wanted = target(schedule.prediction_type, batch.latents, noise, alphas, timesteps)
    weights = min_snr_weights(schedule.prediction_type, snr(alphas, timesteps), gamma)
    return with_prior(squared_error(prediction, wanted, weights), batch.weights, batch.prior)


@dataclass
class Run:
    """A run that is set up: its parts, and the four things that it does."""

    config: TrainConfig
    ctx: JobContext
    model: LoadedModel
    method: Method
    trainable: Trainable
    data: TrainingData
    schedule: NoiseSchedule
    accelerator: Accelerator
    unet: torch.nn.Module
    optimizer: Any
    scheduler: Any
    side: int
    record: Checkpoint
    sample_prompts: list[str]

    def step(self, step: int) -> dict[str, float]:
        """One optimizer step; returns what `metrics.jsonl` says of it. Learning rates are those that it used."""
        loop = self.config.loop
        started = time.perf_counter()
        self.unet.train()
        losses = []
        for part in range(loop.gradient_accumulation):
            number = (step - 1) * loop.gradient_accumulation + part
            torch.manual_seed(derived_seed(loop.seed, "step", number))
            last = part == loop.gradient_accumulation - 1
            with nullcontext() if last else self.accelerator.no_sync(self.unet):
                batch = self.data.batch(number, self.accelerator.device)
                loss = (self.method.loss or denoising_loss)(
                    self.unet, self.model.family, batch, self.schedule, loop.min_snr_gamma
                )
                self._refuse_unless_finite(loss.item(), "loss", step)
                self.accelerator.backward(loss / loop.gradient_accumulation)
            losses.append(loss.item())
        norm = self.accelerator.clip_grad_norm_(self.trainable.parameters.values(), loop.max_grad_norm or math.inf)
        if self.accelerator.scaler is None:
            self._refuse_unless_finite(norm.item(), "gradient", step)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        names = ["lr", *(f"lr_{group.name}" for group in self.trainable.groups[1:])]
        pictures = loop.batch_size * loop.gradient_accumulation
        return {
            "loss": sum(losses) / len(losses),
            "grad_norm": norm.item(),
            **dict(zip(names, rates, strict=True)),
            "images_per_second": pictures / (time.perf_counter() - started),
        }

    def _refuse_unless_finite(self, value: float, what: str, step: int) -> None:
        if not math.isfinite(value):
            good = latest_checkpoint(self.ctx.folder)
            kept = f"the last good checkpoint is {good.name}" if good else "there is no checkpoint yet"
            raise UserError(
                f"The {what} was not a number at step {step} and the step was not taken; {kept}: "
                "try a lower learning rate."
            )

    def checkpoint(self, step: int) -> None:
        """Write what the method changed, and the state to go on from, unless this step's checkpoint is there."""

        def save(folder: Path) -> None:
            self.method.save(self.model.pipeline, self.trainable, folder)
            save_state(folder, self.trainable.parameters, *self._state())

        if step:
            write_checkpoint(self.ctx.folder, replace(self.record, step=step), save)

    def resume(self) -> int:
        """Take the newest good checkpoint's state, if any; returns its step. Later lines of metrics are dropped."""
        newest = latest_checkpoint(self.ctx.folder)
        if newest is None:
            step = 0
        else:
            load_state(newest, self.trainable.parameters, *self._state())
            step = int(newest.name.removeprefix("step-"))
            self.ctx.log(f"Going on from step {step}.")
        _forget_metrics_after(self.ctx.folder / METRICS_FILE, step)
        return step

    def _state(self) -> tuple[torch.optim.Optimizer, Any, Any]:
        return self.optimizer.optimizer, self.scheduler, self.accelerator.scaler

    def samples(self, step: int) -> None:
        """Draw the sample prompts, the same seeds each time, into `samples/step-NNNNNN`."""
        pipeline = self.model.pipeline
        folder = self.ctx.folder / "samples" / f"step-{step:06d}"
        shutil.rmtree(folder, ignore_errors=True)
        settings = _settings(pipeline, self.side)
        seeds = [self.config.loop.seed + index for index in range(len(self.sample_prompts))]
        self.unet.eval()
        for start in range(0, len(seeds), SAMPLE_COUNT):
            chosen = slice(start, start + SAMPLE_COUNT)
            prompts = self.sample_prompts[chosen]
            pictures = sample(pipeline, prompts, seeds[chosen], settings, self.side, self.side)
            for prompt, seed, (picture, flags) in zip(prompts, seeds[chosen], pictures, strict=True):
                image = GeneratedImage(
                    file=f"{seed - self.config.loop.seed:02d}.png",
                    prompt=prompt,
                    negative_prompt="",
                    seed=seed,
                    model=ModelRef(base_model=self.config.base_model, label=f"{self.record.run} step {step}"),
                    checkpoint_hash="",
                    settings=replace(settings, seed=seed),
                    width=self.side,
                    height=self.side,
                    flags=flags,
                )
                sampler = type(pipeline.scheduler).__name__
                write_image(folder, image, picture, png_info(image, sampler, self.model.base_hash, image.model.label))


def _forget_metrics_after(file: Path, step: int) -> None:
    """Keep the lines up to `step`: what came after is done again."""
    if file.is_file():
        kept = [line for line in _whole_lines(file) if json.loads(line)["step"] <= step]
        atomic_write(file, "".join(kept))


def _whole_lines(file: Path) -> Iterator[str]:
    return (line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n"))
