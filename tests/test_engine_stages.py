"""Two-stage training: a run that begins from an earlier one's weights.   pytest tests/test_engine_stages.py"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import context, metrics

from sdstudio import registry
from sdstudio.engine.setup import set_up
from sdstudio.engine.train import run_train
from sdstudio.models import latest_checkpoint
from sdstudio.schema import LoopConfig, TrainConfig, UserError
from sdstudio.workspace import Workspace

LOOP = LoopConfig(steps=2, batch_size=2, warmup_steps=0, sample_every=0, validation_share=0)
OPTIONS = {
    "lora": {"text_encoder": True},
    "sam": {"prior_images": 0, "layers": ["up_blocks.1", "conv_out"], "layers_learning_rate": 0.01},
    "dreambooth": {"prior_images": 0, "class_word": "toy"},
    "dreambooth_lora": {"prior_images": 0, "class_word": "toy"},
    "textual_inversion": {"initial_word": "toy"},
    "full": {},
}


@pytest.fixture
def base(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("sd1")


def config(base: Path, method: str, **more: object) -> TrainConfig:
    return TrainConfig(
        dataset="toys", base_model=str(base), method=method, method_options=OPTIONS.get(method, {}), loop=LOOP, **more
    )


@pytest.mark.parametrize("method", sorted(registry.load("sdstudio.methods")))
def test_the_second_stage_begins_with_the_firsts_weights(method: str, base: Path, ws: Workspace) -> None:
    first = context(ws, "runs", "first")
    run_train(config(base, method), first)
    kept = load_file(latest_checkpoint(first.folder) / "state/training_state.safetensors")
    fresh = set_up(config(base, method), context(ws, "runs", "fresh")).trainable.parameters
    run = set_up(config(base, method, init_checkpoint="first"), context(ws, "runs", "second"))
    for name, value in run.trainable.parameters.items():
        learned = kept[f"parameter.{name}"]
        assert value.dtype == torch.float32 and value.requires_grad
        assert torch.allclose(value, learned, rtol=2e-3, atol=1e-5), name  # checkpoints hold float16
    moved = [name for name, value in fresh.items() if not torch.equal(value, kept[f"parameter.{name}"])]
    assert moved and any(not torch.equal(fresh[name], run.trainable.parameters[name]) for name in moved)
    assert run.step(1)["loss"] > 0


def test_both_stages_are_in_the_second_checkpoint(base: Path, ws: Workspace) -> None:
    """The change of a layer is counted from the base model, so that the second checkpoint alone is enough."""
    first, second = context(ws, "runs", "first"), context(ws, "runs", "second")
    run_train(config(base, "full"), first)
    still = replace(config(base, "full", init_checkpoint="first"), method_options={"learning_rate": 1e-12})
    run_train(still, second)
    one, other = (load_file(latest_checkpoint(ctx.folder) / "delta.safetensors") for ctx in (first, second))
    assert any(value.any() for value in one.values())
    assert all(torch.allclose(one[name], other[name], rtol=1e-2, atol=1e-6) for name in one)


def test_what_does_not_fit_is_refused_before_a_step(base: Path, ws: Workspace) -> None:
    first = context(ws, "runs", "first")
    run_train(config(base, "lora"), first)
    assert len(metrics(first)) == 2
    wrong = [
        (replace(config(base, "lora", init_checkpoint="first"), method_options={"rank": 4}), "other options"),
        (config(base, "full", init_checkpoint="first"), "of the method 'lora'.*is 'full'"),
        (config(base, "lora", init_checkpoint="nothing"), "no checkpoint 'nothing'"),
    ]
    for number, (bad, message) in enumerate(wrong):
        ctx = context(ws, "runs", f"bad-{number}")
        with pytest.raises(UserError, match=message):
            run_train(bad, ctx)
        assert not (ctx.folder / "metrics.jsonl").exists()
    weights = latest_checkpoint(first.folder) / "pytorch_lora_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    damaged = f"runs/first/checkpoints/{weights.parent.name}"
    with pytest.raises(UserError, match="is damaged"):
        run_train(config(base, "lora", init_checkpoint=damaged), context(ws, "runs", "bad"))
