"""The optimizer that a config names, and how its learning rate moves."""

from typing import Any, cast

import torch
from diffusers.optimization import get_scheduler

from sdstudio.methods.parts import ParameterGroup
from sdstudio.schema import LoopConfig


def make_optimizer(groups: list[ParameterGroup], loop: LoopConfig) -> torch.optim.Optimizer:
    """AdamW in one fused kernel (Loshchilov & Hutter 2017, arXiv:1711.05101), or what the config names in its place.

    Prodigy (Mishchenko & Defazio 2023, arXiv:2306.06101) finds one rate for all groups; theirs do not count.
    """
    parameters: list[dict[str, Any]] = [
        {"params": list(group.parameters.values()), "lr": group.learning_rate} for group in groups
    ]
    if loop.optimizer == "adamw 8-bit":
        from bitsandbytes.optim import AdamW8bit

        return cast(torch.optim.Optimizer, AdamW8bit(parameters, weight_decay=loop.weight_decay))
    if loop.optimizer == "prodigy":
        from prodigyopt import Prodigy

        alike = [{**group, "lr": 1.0} for group in parameters]
        return cast(torch.optim.Optimizer, Prodigy(alike, weight_decay=loop.weight_decay))
    return torch.optim.AdamW(parameters, weight_decay=loop.weight_decay, fused=True)


def make_scheduler(optimizer: torch.optim.Optimizer, loop: LoopConfig, steps: int) -> Any:
    """diffusers' schedule of that name over `steps` optimizer steps."""
    return get_scheduler(
        loop.lr_scheduler,
        optimizer,
        num_warmup_steps=loop.warmup_steps,
        num_training_steps=steps,
        num_cycles=loop.lr_cycles,
    )
