"""LoRA's linear layers in fewer passes over their output."""

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear
from torch import Tensor


def fuse_lora(model: torch.nn.Module) -> None:
    """Make every plain LoRA layer of `model` compute W x + b + (s B)(A x) with one product that also adds.

    peft multiplies by the scale s and adds in two further passes over the output, which is the larger by far; on the
    starter this takes a twelfth of a training step. Weights, names and what is saved stay as they are; DoRA's layers
    and those of several adapters keep peft's own way.
    """
    for module in model.modules():
        if isinstance(module, Linear) and len(module.active_adapters) == 1 and not module.lora_variant:
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(self: Linear, x: Tensor, *arguments: Any, **more: Any) -> Tensor:
    if self.disable_adapters or self.merged or arguments or more:
        return type(self).forward(self, x, *arguments, **more)
    (name,) = self.active_adapters
    down, up = self.lora_A[name].weight, self.lora_B[name].weight * self.scaling[name]
    base = self.base_layer(x)
    inner = F.linear(self.lora_dropout[name](x), down)
    return torch.addmm(base.flatten(0, -2), inner.flatten(0, -2), up.T).view_as(base)
