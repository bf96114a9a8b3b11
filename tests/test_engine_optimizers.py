"""Optimizers and schedules, each resumed to the bit.   pytest tests/test_engine_optimizers.py"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.optimization import get_scheduler

from sdstudio.engine.average import Average
from sdstudio.engine.checkpoints import TrainingState
from sdstudio.engine.optimizers import make_optimizer, make_scheduler
from sdstudio.methods.parts import ParameterGroup
from sdstudio.schema import LoopConfig

LOOP = LoopConfig(steps=12, warmup_steps=3)
CPU = torch.device("cpu")
SCHEDULES = ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial")


def groups() -> list[ParameterGroup]:
    torch.manual_seed(0)
    first, second = (torch.nn.Parameter(torch.randn(4, 3)) for _ in range(2))
    return [
        ParameterGroup(name="one", parameters={"a.weight": first}, learning_rate=1e-2),
        ParameterGroup(name="two", parameters={"b.weight": second}, learning_rate=1e-3),
    ]


def state_of(loop: LoopConfig) -> TrainingState:
    made = groups()
    parameters = {name: value for group in made for name, value in group.parameters.items()}
    optimizer = make_optimizer(made, loop)
    average = Average(parameters, 0.9)
    return TrainingState(parameters, average, optimizer, make_scheduler(optimizer, loop, loop.steps), None)


def train(state: TrainingState, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        loss = sum(((value - torch.randn_like(value)) ** 2).sum() for value in state.parameters.values())
        loss.backward()
        state.optimizer.step()
        state.scheduler.step()
        state.optimizer.zero_grad()
        state.average.update(step)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["adamw", "prodigy"])
def test_state_goes_on_to_the_bit(name: str, schedule: str, tmp_path: Path) -> None:
    loop = replace(LOOP, optimizer=name, lr_scheduler=schedule, lr_cycles=2)
    whole, first, second = (state_of(loop) for _ in range(3))
    train(whole, range(1, 13))
    train(first, range(1, 6))
    first.save(tmp_path / "state")
    second.load(tmp_path / "state")
    train(second, range(6, 13))
    assert all(torch.equal(value, second.parameters[key]) for key, value in whole.parameters.items())
    assert all(torch.equal(value, second.average.values[key]) for key, value in whole.average.values.items())
    assert [group["lr"] for group in whole.optimizer.param_groups] == [
        group["lr"] for group in second.optimizer.param_groups
    ]
    assert not torch.equal(whole.parameters["a.weight"], first.parameters["a.weight"])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_are_those_of_diffusers_for_each_group(schedule: str) -> None:
    loop = replace(LOOP, lr_scheduler=schedule, lr_cycles=2)
    state = state_of(loop)
    plain = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = get_scheduler(schedule, plain, num_warmup_steps=3, num_training_steps=12, num_cycles=2)
    for _ in range(12):
        share = plain.param_groups[0]["lr"]
        if schedule != "polynomial":  # it falls to a rate of its own, not to a share
            assert [group["lr"] for group in state.optimizer.param_groups] == pytest.approx(
                [1e-2 * share, 1e-3 * share]
            )
        plain.step()
        reference.step()
        train(state, range(1, 2))
    assert state.optimizer.param_groups[0]["lr"] <= 1e-2


def test_adamw_is_one_kernel_and_follows_its_equations() -> None:
    """Loshchilov & Hutter 2017: w ← w − η(m̂ / (√v̂ + ε) + λ w)."""
    state = state_of(replace(LOOP, lr_scheduler="constant", weight_decay=0.1))
    assert state.optimizer.defaults["fused"]
    value = state.parameters["a.weight"]
    expected, m, v = value.detach().double().clone(), 0.0, 0.0
    for step in range(1, 4):
        gradient = torch.full((4, 3), float(step), dtype=torch.float64)
        value.grad = gradient.float()
        state.optimizer.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        update = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        expected = expected - 1e-2 * (update + 0.1 * expected)
    assert torch.allclose(value.detach().double(), expected, rtol=1e-6)


def test_prodigy_takes_one_rate_for_all_groups() -> None:
    optimizer = state_of(replace(LOOP, optimizer="prodigy", lr_scheduler="constant")).optimizer
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 1.0]
