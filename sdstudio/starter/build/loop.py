"""One resumable loop for every starter model: the same step number gives the same batch, noise and learning rate."""

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

StepLoss = Callable[[nn.Module, np.random.Generator, int], torch.Tensor]


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear rise over 100 steps, flat, then a cosine fall to 2% over the last 40% of the steps."""
    rise = min(1.0, (step + 1) / 100)
    fall = max(0.0, (step / steps - 0.6) / 0.4)
    return peak * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, fall))))


def fit(
    path: Path,
    model: nn.Module,
    loss_of: StepLoss,
    *,
    steps: int,
    peak: float,
    seed: int,
    device: torch.device,
    evaluate: Callable[[nn.Module], str] | None = None,
    ema_decay: float = 0.999,
    weight_decay: float = 0.01,
    save_every: int = 500,
    compiled: bool = False,
) -> nn.Module:
    """Train `model` to `steps`, going on from `path` when it exists; returns the moving average of its weights.

    `loss_of(model, rng, step)` draws its own batch from `rng`. Only parameters that require a gradient are trained
    and stored. `compiled` needs a C++ compiler; it pays on small networks whose time goes to overhead. Prints one
    line per save with the loss, the rate and what `evaluate` says.
    """
    model = model.to(device)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    average = copy.deepcopy(model).eval().requires_grad_(False)
    lookup = dict(average.named_parameters())
    averaged = [lookup[name] for name in names]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
    start = _restore(path, names, parameters, averaged, optimizer) if path.exists() else 0
    trained = torch.compile(model) if compiled else model
    since, recent = time.monotonic(), []
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        torch.manual_seed(seed * 1_000_003 + step)
        model.train()
        loss = loss_of(trained, np.random.default_rng((seed, step)), step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 1 - min(ema_decay, (1 + step) / (10 + step)))
        recent.append(loss.detach())
        if (step + 1) % save_every == 0 or step + 1 == steps:
            _save(path, step + 1, names, parameters, averaged, optimizer)
            mean = torch.stack(recent).mean().item()
            rate = len(recent) / (time.monotonic() - since)
            said = evaluate(average) if evaluate else ""
            print(f"{path.stem} {step + 1}/{steps}  loss {mean:.4f}  {rate:.2f} steps/s  {said}", flush=True)
            since, recent = time.monotonic(), []
    return average


def _save(
    path: Path, step: int, names: list[str], parameters: list, averaged: list, optimizer: torch.optim.Optimizer
) -> None:
    tensors = {}
    for name, parameter, mean in zip(names, parameters, averaged, strict=True):
        state = optimizer.state[parameter]
        tensors[f"model.{name}"] = parameter.detach()
        tensors[f"ema.{name}"] = mean
        tensors[f"first.{name}"] = state["exp_avg"]
        tensors[f"second.{name}"] = state["exp_avg_sq"]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({key: value.contiguous().cpu() for key, value in tensors.items()}, partial, metadata={"step": str(step)})
    partial.replace(path)


def _restore(path: Path, names: list[str], parameters: list, averaged: list, optimizer: torch.optim.AdamW) -> int:
    """Moments take the memory format of their parameter: the fused optimizer walks both by their storage."""
    with safe_open(path, framework="pt") as file:
        step = int(file.metadata()["step"])
        with torch.no_grad():
            for name, parameter, mean in zip(names, parameters, averaged, strict=True):
                parameter.copy_(file.get_tensor(f"model.{name}"))
                mean.copy_(file.get_tensor(f"ema.{name}"))
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(step), device=parameter.device),
                    "exp_avg": torch.empty_like(parameter).copy_(file.get_tensor(f"first.{name}")),
                    "exp_avg_sq": torch.empty_like(parameter).copy_(file.get_tensor(f"second.{name}")),
                }
    return step


def average_of(path: Path, model: nn.Module) -> tuple[nn.Module, int]:
    """`model` with the averaged weights stored at `path`, and the step they are from."""
    lookup = dict(model.named_parameters())
    with safe_open(path, framework="pt") as file, torch.no_grad():
        for key in file.keys():  # noqa: SIM118 (no mapping)
            if key.startswith("ema."):
                lookup[key[4:]].copy_(file.get_tensor(key))
        return model.eval(), int(file.metadata()["step"])
