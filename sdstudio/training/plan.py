"""How long a run is and at which steps it saves, draws and measures; worked out from its config, without torch."""

from dataclasses import dataclass
from itertools import count, takewhile

from sdstudio.schema import LoopConfig, UserError

LEAST_TO_VALIDATE = 20
"""With fewer pictures than this none is set aside: two or fewer would measure nothing."""
MOST_TO_VALIDATE = 100


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`steps` in all, each of `pictures_per_step`; a pass over the pictures takes `steps_per_epoch`.

    The sets hold the steps after which something is done; `asked_for` are the checkpoints named one by one.
    """

    steps: int
    pictures_per_step: int
    steps_per_epoch: float
    checkpoints: frozenset[int]
    asked_for: frozenset[int]
    samples: frozenset[int]
    validations: frozenset[int]


def make_plan(loop: LoopConfig, pictures: int, passes: int, processes: int = 1) -> Plan:
    """The plan of a run over `pictures` training pictures, of which one pass shows `passes` (repeats counted).

    Raises UserError when the length is given twice, or something is asked for after the end.
    """
    if loop.epochs and loop.steps_per_instance:
        raise UserError("Both epochs and steps per instance are given: keep one, and set the other to 0.")
    per_step = loop.batch_size * loop.gradient_accumulation * processes

    def after(epochs: int) -> int:
        return max(1, -(-epochs * passes // per_step))

    def place(number: int) -> int:
        return after(number) if loop.interval_unit == "epochs" else max(1, number)

    def every(interval: int) -> frozenset[int]:
        if not interval:
            return frozenset()
        found = (place(number) for number in count(interval, interval))
        return frozenset(takewhile(lambda step: step <= steps, found))

    steps = after(loop.epochs) if loop.epochs else loop.steps_per_instance * pictures or loop.steps
    asked_for = frozenset(map(place, loop.checkpoint_at))
    samples = frozenset(map(place, loop.sample_at)) | every(loop.sample_every)
    beyond = max(asked_for | samples, default=0)
    if beyond > steps:
        raise UserError(
            f"A checkpoint or sample is asked for after step {beyond}, but the run ends at {steps} steps "
            f"({steps * per_step / passes:.4g} epochs): take it out, or train longer."
        )
    return Plan(
        steps=steps,
        pictures_per_step=per_step,
        steps_per_epoch=passes / per_step,
        checkpoints=asked_for | every(loop.checkpoint_every) | {steps},
        asked_for=asked_for,
        samples=samples | {steps} if loop.sample_every or loop.sample_at else frozenset(),
        validations=every(loop.validate_every) | {steps},
    )


def set_aside(pictures: int, share: float) -> int:
    """How many of `pictures` a run sets aside for validation, at most (near-duplicates stay together)."""
    return min(MOST_TO_VALIDATE, round(pictures * share)) if pictures >= LEAST_TO_VALIDATE else 0
