"""The training loop that every method shares."""

from sdstudio.engine.distributed import agreed
from sdstudio.engine.run import StopRequested
from sdstudio.engine.setup import set_up
from sdstudio.jobs.context import JobContext
from sdstudio.schema import TrainConfig

LOG_LINES = 10


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
    while step < config.loop.steps and not agreed(run.accelerator, ctx.should_stop()):
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
