"""The training loop that every method shares."""

import time

from sdstudio.engine.distributed import agreed
from sdstudio.engine.run import Run, StopRequested
from sdstudio.engine.setup import ORIGINALS_FILE, set_up
from sdstudio.jobs.context import JobContext
from sdstudio.schema import TrainConfig
from sdstudio.workspace import require_space

LOG_LINES = 10
TOLD_EVERY = 0.5


def run_train(config: TrainConfig, ctx: JobContext) -> bool:
    """Train by `config` into the run's folder; go on from its newest good checkpoint where there is one.

    A stop request is answered with a checkpoint after the step in hand. What step k does depends on the config and k
    alone, so that a run that was killed and goes on equals one that was not, to the bit on one machine.
    Returns False when it ended because it was asked to stop.
    Raises UserError for what a person can mend; a loss that is not a number ends the run before it touches a weight.
    """
    try:
        return _train(set_up(config, ctx))
    except StopRequested:
        ctx.log("Stopped before the first step.")
        return False
    finally:
        (ctx.folder / ORIGINALS_FILE).unlink(missing_ok=True)


def _train(run: Run) -> bool:
    """All steps of a run that is set up; False when it was asked to stop."""
    ctx, patience = run.ctx, run.config.loop.early_stop
    steps, told = run.plan.steps, 0.0
    step = run.resume()
    require_space(ctx.folder, 2 * run.state.checkpoint_size(), "two of its checkpoints")
    if run.history.base is None:
        run.measure(step)
    while step < steps and not run.history.has_stalled(patience):
        if agreed(run.accelerator, ctx.should_stop()):
            run.checkpoint(step)
            ctx.progress(step, steps, "steps")
            ctx.log(f"Stopped after step {step} of {steps}; the checkpoint is kept.")
            return False
        step += 1
        numbers = run.step(step)
        ctx.metrics(step=step, **numbers)
        if step == steps or time.monotonic() - told > TOLD_EVERY:
            ctx.progress(step, steps, "steps")
            told = time.monotonic()
        if step == steps or step % -(-steps // LOG_LINES) == 0:
            ctx.log(f"Step {step} of {steps}: loss {numbers['loss']:.4f}, rate {numbers['lr']:.2e}")
        if step in run.plan.validations | run.plan.checkpoints:
            run.measure(step)
        ended = run.history.has_stalled(patience)
        if step in run.plan.samples or (ended and run.plan.samples):
            run.samples(step)
        if step in run.plan.checkpoints or ended:
            run.checkpoint(step)
    if step < steps:
        best = run.history.best({step for step, _ in run.history.validations})
        ctx.log(f"Ended after step {step} of {steps}: the validation loss was best at step {best and best[0]}.")
        ctx.progress(step, step, "steps")
    return True
