"""A run that is set up, and the things that it does: a step, a checkpoint, samples, going on."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from sdstudio.engine.checkpoints import load_state, save_state, write_checkpoint
from sdstudio.engine.data import TrainingData, derived_seed
from sdstudio.engine.distributed import mean_over_ranks, micro_batch
from sdstudio.engine.loss import NoiseSchedule, denoising_loss
from sdstudio.engine.pipeline import LoadedModel
from sdstudio.engine.samples import draw_samples
from sdstudio.jobs.context import METRICS_FILE, JobContext
from sdstudio.methods.parts import Trainable
from sdstudio.models import latest_checkpoint
from sdstudio.schema import Checkpoint, Method, ModelRef, TrainConfig, UserError
from sdstudio.workspace import atomic_write


class StopRequested(Exception):
    """Somebody asked the run to end before its first step."""


@dataclass
class Run:
    """All parts of a run. What step k does depends on the config and k alone."""

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
            number = micro_batch(self.accelerator, step, part, loop.gradient_accumulation)
            torch.manual_seed(derived_seed(loop.seed, "step", number))
            last = part == loop.gradient_accumulation - 1
            with nullcontext() if last else self.accelerator.no_sync(self.unet):
                batch = self.data.batch(number, self.accelerator.device)
                loss = (self.method.loss or denoising_loss)(self.unet, self.model.family, batch, self.schedule, loop)
                losses.append(mean_over_ranks(self.accelerator, loss))
                self._refuse_unless_finite(losses[-1], "loss", step)
                self.accelerator.backward(loss / loop.gradient_accumulation)
        norm = self.accelerator.clip_grad_norm_(self.trainable.parameters.values(), loop.max_grad_norm or math.inf)
        if self.accelerator.scaler is None:
            self._refuse_unless_finite(norm.item(), "gradient", step)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        names = ["lr", *(f"lr_{group.name}" for group in self.trainable.groups[1:])]
        pictures = loop.batch_size * loop.gradient_accumulation * self.accelerator.num_processes
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

        if step and self.accelerator.is_main_process:
            write_checkpoint(self.ctx.folder, replace(self.record, step=step), save)
        self.accelerator.wait_for_everyone()

    def resume(self) -> int:
        """Take the newest good checkpoint's state, if any; returns its step. Later lines of metrics are dropped."""
        newest = latest_checkpoint(self.ctx.folder)
        if newest is None:
            step = 0
        else:
            load_state(newest, self.trainable.parameters, *self._state())
            step = int(newest.name.removeprefix("step-"))
            self.ctx.log(f"Going on from step {step}.")
        if self.accelerator.is_main_process:
            _forget_metrics_after(self.ctx.folder / METRICS_FILE, step)
        return step

    def _state(self) -> tuple[torch.optim.Optimizer, Any, Any]:
        return self.optimizer.optimizer, self.scheduler, self.accelerator.scaler

    def samples(self, step: int) -> None:
        """Draw the sample prompts into `samples/step-NNNNNN`."""
        if self.accelerator.is_main_process:
            ref = ModelRef(base_model=self.config.base_model, label=f"{self.record.run} step {step}")
            folder = self.ctx.folder / "samples" / f"step-{step:06d}"
            draw_samples(self.model, ref, self.sample_prompts, self.config.loop.seed, self.side, folder)
        self.accelerator.wait_for_everyone()


def _forget_metrics_after(file: Path, step: int) -> None:
    """Keep the lines up to `step`: what came after is done again."""
    if file.is_file():
        kept = [line for line in _whole_lines(file) if json.loads(line)["step"] <= step]
        atomic_write(file, "".join(kept))


def _whole_lines(file: Path) -> Iterator[str]:
    return (line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n"))
