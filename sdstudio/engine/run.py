"""A run that is set up, and the things that it does: a step, a measurement, a checkpoint, samples, going on."""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import Accelerator

from sdstudio.engine.checkpoints import STATE_FOLDER, TrainingState, resumable, steps_kept, tidy, write_checkpoint
from sdstudio.engine.data import TrainingData, seed_step
from sdstudio.engine.distributed import first_alone, micro_batch
from sdstudio.engine.history import History, read_history
from sdstudio.engine.loss import NoiseSchedule, denoising_loss
from sdstudio.engine.pipeline import LoadedModel
from sdstudio.engine.samples import draw_samples
from sdstudio.engine.validation import Validation
from sdstudio.jobs.context import METRICS_FILE, JobContext
from sdstudio.methods.parts import Trainable, text_encoders
from sdstudio.models import latest_checkpoint
from sdstudio.schema import Checkpoint, Method, ModelRef, TrainConfig, UserError
from sdstudio.training.plan import Plan
from sdstudio.workspace import require_space, write_json

BEST_FILE = "best.json"


class StopRequested(Exception):
    """Somebody asked the run to end before its first step."""


@dataclass
class Run:
    """All parts of a run. What step k does depends on the config and k alone."""

    config: TrainConfig
    ctx: JobContext
    plan: Plan
    model: LoadedModel
    method: Method
    trainable: Trainable
    data: TrainingData
    validation: Validation | None
    schedule: NoiseSchedule
    accelerator: Accelerator
    unet: torch.nn.Module
    optimizer: Any
    state: TrainingState
    side: int
    record: Checkpoint
    sample_prompts: list[str]
    history: History = field(default_factory=History)

    def step(self, step: int) -> dict[str, float]:
        """One optimizer step; returns what `metrics.jsonl` says of it. Learning rates are those that it used.

        Raises UserError, with no weight touched, when loss or gradient is not a number or the loss has exploded.
        """
        loop = self.config.loop
        started = time.perf_counter()
        self._teach(True)
        losses = [self._backward(step, part) for part in range(loop.gradient_accumulation)]
        if self.trainable.trains_text:
            self._share_text_gradients()
        norm = self.accelerator.clip_grad_norm_(self.trainable.parameters.values(), loop.max_grad_norm or math.inf)
        mean = self.accelerator.reduce(torch.stack(losses).mean(), "mean")
        loss, norm = torch.stack([mean, norm.to(mean)]).tolist()
        self._refuse_if_broken(step, loss, norm)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.step()
        self.state.scheduler.step()
        self.optimizer.zero_grad()
        self.state.average.update(step)
        names = ["lr", *(f"lr_{group.name}" for group in self.trainable.groups[1:])]
        numbers = {
            "loss": loss,
            "grad_norm": norm,
            **dict(zip(names, rates, strict=True)),
            "images_per_second": self.plan.pictures_per_step / (time.perf_counter() - started),
            "memory_bytes": _memory(self.accelerator.device),
        }
        self.history.take({"step": step, **numbers})
        return numbers

    def _backward(self, step: int, part: int) -> torch.Tensor:
        """Add the gradients of one micro-batch; its loss."""
        parts = self.config.loop.gradient_accumulation
        number = micro_batch(self.accelerator, step, part, parts)
        seed_step(self.config.loop, number)
        with nullcontext() if part == parts - 1 else self.accelerator.no_sync(self.unet):
            batch = self.data.batch(number, self.accelerator.device)
            loss = (self.method.loss or denoising_loss)(
                self.unet, self.model.family, batch, self.schedule, self.config.loop
            )
            self.accelerator.backward(loss / parts)
        return loss.detach()

    def _share_text_gradients(self) -> None:
        """The mean over ranks of what the U-Net's own wrapper does not see."""
        own = set(map(id, self.unet.parameters()))
        for value in self.trainable.parameters.values():
            if id(value) not in own and value.grad is not None:
                value.grad = self.accelerator.reduce(value.grad, "mean")

    def _teach(self, on: bool) -> None:
        """Switch dropout on or off in all that learns."""
        if self.model.pipeline.unet.training != on:  # going through all its modules takes milliseconds
            self.unet.train(on)
        for encoder in text_encoders(self.model.pipeline).values() if self.trainable.trains_text else ():
            encoder.train(on)

    def _refuse_if_broken(self, step: int, loss: float, norm: float) -> None:
        if not math.isfinite(loss):
            fault = "The loss was not a number"
        elif not math.isfinite(norm) and self.accelerator.scaler is None:
            fault = "The gradient was not a number"
        elif self.history.exploded(loss):
            fault = f"The loss exploded to {loss:.3g}"
        else:
            return
        good = latest_checkpoint(self.ctx.folder)
        kept = f"the last good checkpoint is {good.name}" if good else "there is no checkpoint yet"
        raise UserError(f"{fault} at step {step} and the step was not taken; {kept}: try a lower learning rate.")

    def measure(self, step: int) -> None:
        """Write the validation loss after `step` into the metrics, with that of the model before its first step."""
        if self.validation is None:
            return
        self._teach(False)
        with self.state.average.applied():
            found = self.validation.measure(self.unet)
        base = found.loss if self.history.base is None else self.history.base
        line = {"step": step, "val_loss": found.loss, "val_base": base, "val_bins": found.bins}
        self.history.take(line)
        self.ctx.metrics(**line)

    def checkpoint(self, step: int) -> None:
        """Write what the method changed, and the state to go on from; mark the best one; remove what is not kept."""

        def save(folder: Path) -> None:
            with self.state.average.applied():
                self.method.save(self.model.pipeline, self.trainable, folder)

        if step and self.accelerator.is_main_process:
            require_space(self.ctx.folder, self.state.checkpoint_size(), f"the checkpoint of step {step}")
            write_checkpoint(self.ctx.folder, replace(self.record, step=step), save, self.state.save)
            self._tidy()
        self.accelerator.wait_for_everyone()

    def _tidy(self) -> None:
        """Mark the best checkpoint and remove those that are not to be kept."""
        kept = steps_kept(self.ctx.folder)
        best = self.history.best(set(kept))
        if best:
            write_json(self.ctx.folder / BEST_FILE, {"step": best[0], "val_loss": best[1]})
        wanted = {*kept[-self.config.loop.keep_last :], *self.plan.asked_for, *([best[0]] if best else [])}
        removed = tidy(self.ctx.folder, wanted.__contains__, self.config.loop.keep_state)
        if removed:
            self.ctx.log(f"Removed the checkpoints of steps {', '.join(map(str, removed))}: see keep_last.")

    def resume(self) -> int:
        """Take the newest good checkpoint's state, if any; returns its step. Later lines of metrics are dropped."""
        found, newest = resumable(self.ctx.folder), max(steps_kept(self.ctx.folder), default=0)
        step = 0
        if found is not None:
            self.state.load(found / STATE_FOLDER)
            step = int(found.name.removeprefix("step-"))
            self.ctx.log(f"Going on from step {step}.")
        if newest > step:
            self.ctx.log(f"The checkpoint of step {newest} is damaged; what came after step {step} is done again.")
        with first_alone(self.accelerator):
            self.history = read_history(self.ctx.folder / METRICS_FILE, step)
            if found is not None and self.accelerator.is_main_process:
                self._tidy()  # a kill may have come between a checkpoint and this
        return step

    def samples(self, step: int) -> None:
        """Draw the sample prompts into `samples/step-NNNNNN`."""
        if self.accelerator.is_main_process:
            self._teach(False)
            ref = ModelRef(base_model=self.config.base_model, label=f"{self.record.run} step {step}")
            folder = self.ctx.folder / "samples" / f"step-{step:06d}"
            with self.state.average.applied():
                draw_samples(self.model, ref, self.sample_prompts, self.config.loop.seed, self.side, folder)
        self.accelerator.wait_for_everyone()


def _memory(device: torch.device) -> int:
    """Bytes in use: the most that was ever allocated on a GPU, or what this process holds now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return int(psutil.Process().memory_info().rss)
