"""One run in several processes, which `accelerate launch` starts: each takes its share of a step, the first writes.

With n ranks a micro-batch of the run is still a function of its number alone; rank r of n does numbers r, r + n, …. So
n ranks with gradient accumulation a learn what one process learns with accumulation n·a, up to the order of sums.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState

PATIENCE = timedelta(days=1)
"""How long ranks wait for each other: the first may draw pictures meanwhile, and one that dies ends all anyway."""


def start(mixed_precision: str, cpu: bool) -> Accelerator:
    """The accelerator of this process, which joins the other ranks where `accelerate launch` started several."""
    AcceleratorState._reset_state()  # an earlier run of this process must not fix this one's number format
    return Accelerator(
        mixed_precision=mixed_precision, cpu=cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)]
    )


def micro_batch(accelerator: Accelerator, step: int, part: int, parts: int) -> int:
    """The number of the micro-batch that this rank does as part `part` of `parts` of a step (from 1)."""
    return ((step - 1) * parts + part) * accelerator.num_processes + accelerator.process_index


def agreed(accelerator: Accelerator, wish: bool) -> bool:
    """True on every rank as soon as one wishes it, so that all leave the loop after the same step."""
    if accelerator.num_processes == 1:
        return wish
    return bool(accelerator.reduce(torch.tensor(int(wish), device=accelerator.device), "sum"))


@contextmanager
def first_alone(accelerator: Accelerator) -> Iterator[None]:
    """The first rank does the block before the others, who then find its files; also when it fails or stops there."""
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_main_process:
            accelerator.wait_for_everyone()
