"""A run that is killed and goes on equals one that is not, to the bit.   pytest tests/test_engine_resume.py -m ""

The kill is real: a process of its own, ended at once (os._exit) at any of the moments at which a run does something,
which a counter of all of them picks.
"""

import json
import multiprocessing
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_models import context, make_dataset, metrics

from sdstudio.engine import checkpoints, history, run, samples, train
from sdstudio.engine.checkpoints import TrainingState
from sdstudio.engine.run import Run
from sdstudio.jobs.context import JobContext
from sdstudio.models import latest_checkpoint
from sdstudio.schema import ExtraDataset, LoopConfig, TrainConfig
from sdstudio.workspace import Workspace

KILLED = 9
LOOP = LoopConfig(
    steps=8,
    batch_size=2,
    gradient_accumulation=2,
    warmup_steps=2,
    caption_dropout=0.3,
    shuffle_tags=True,
    flip=True,
    crop_jitter=0.2,
    variants=2,
    fit="none",
    ema_decay=0.99,
    checkpoint_every=3,
    keep_last=2,
    sample_every=4,
    sample_prompts=["asim. a toy"],
    validate_every=2,
)
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"dropout": 0.2, "text_encoder": True},
    "full": {"learning_rate": 1e-3},
    "sam": {"prior_images": 3, "rank": 2, "layers_learning_rate": 0.01},
}


@pytest.fixture
def base(tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model("sd1")


def config(base: Path, method: str) -> TrainConfig:
    return TrainConfig(
        dataset="toys",
        mix=[ExtraDataset(dataset="world", regularisation=True, weight=0.5)],
        base_model=str(base),
        method=method,
        method_options=METHODS[method],
        loop=LOOP,
    )


def workspace(root: Path) -> Workspace:
    """Pictures of several shapes, enough of them to set some aside."""
    ws = Workspace(root)
    make_dataset(ws, "toys", [f"asim. toy {number}, red, round, small" for number in range(24)])
    make_dataset(ws, "world", ["a cat", "a dog"])
    return ws


MOMENTS: list[tuple[Any, str]] = [
    (Run, "step"), (Run, "_backward"), (Run, "measure"), (Run, "checkpoint"), (Run, "samples"), (TrainingState, "save"),
    (JobContext, "metrics"), (checkpoints, "_seal"), (checkpoints, "_remove"),
    (checkpoints, "sync_folder"), (run, "tidy"), (run, "write_json"), (history, "atomic_write"),
    (samples, "write_image"), (os, "replace"), (os, "rename"),
]  # fmt: skip


def count_moments(at: Callable[[int], None]) -> None:
    """Call `at` with the number of each moment, before and after everything in MOMENTS is done."""
    count = 0

    def watched(inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            at(count)
            found = inner(*arguments, **more)
            count += 1
            at(count)
            return found

        return outer

    for owner, name in MOMENTS:
        setattr(owner, name, watched(getattr(owner, name)))


def in_a_process(root: Path, name: str, wanted: TrainConfig, kill_at: int = 0) -> int:
    """Train in a process of its own, ended at moment `kill_at`; its exit code."""
    process = multiprocessing.get_context("fork").Process(target=_train, args=(root, name, wanted, kill_at))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _train(root: Path, name: str, wanted: TrainConfig, kill_at: int) -> None:
    torch.set_num_threads(1)
    ctx = context(Workspace(root), "runs", name)
    last = 0

    def at(number: int) -> None:
        nonlocal last
        last = number
        if number == kill_at:
            os._exit(KILLED)

    count_moments(at)
    train.run_train(wanted, ctx)
    (ctx.folder / "moments.json").write_text(json.dumps(last))
    os._exit(0)


def everything(folder: Path) -> dict[str, Any]:
    """What a run leaves that must not depend on how often it was killed."""
    newest = latest_checkpoint(folder)
    assert newest is not None
    pictures = sorted(folder.glob("samples/*/*.png"))
    return {
        "metrics": metrics(JobContext(Workspace(folder), folder)),
        "weights": {path.name: numbers(path) for path in newest.glob("*.safetensors")},
        "checkpoints": sorted(path.name for path in (folder / "checkpoints").iterdir()),
        "best": json.loads((folder / "best.json").read_text()),
        "pictures": {path.parent.name: load_pixels(path) for path in pictures},
    }


def numbers(path: Path) -> dict[str, bytes]:
    """The tensors of a file; the order of its metadata may be any."""
    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def load_pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.tobytes()


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints/step-000008/state/training_state.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def check_kills(root: Path, base: Path, method: str, kills: int, seed: int) -> None:
    """One run killed again and again, each time at a moment of what is left of it; then compared with a whole one."""
    workspace(root)
    wanted = config(base, method)
    assert in_a_process(root, "whole", wanted) == 0
    moments = json.loads((root / "runs/whole/moments.json").read_text())
    assert moments > 200
    draw = random.Random(seed)
    for number in range(kills):
        moment = draw.randrange(1, moments + 1)
        name = f"killed-{number}"
        shutil.rmtree(root / "cache")  # as it was when the moments were counted
        assert in_a_process(root, name, wanted, moment) == KILLED, moment
        again = draw.randrange(1, moments + 1)
        code = in_a_process(root, name, wanted, again)  # killed once more, or finished before that moment
        if code:
            assert code == KILLED
            assert in_a_process(root, name, wanted) == 0
        found, expected = everything(root / "runs" / name), everything(root / "runs/whole")
        assert [key for key in expected if found[key] != expected[key]] == [], (moment, again)
        assert same(state(root / "runs" / name), state(root / "runs/whole")), (moment, again)


@pytest.mark.parametrize("method", METHODS)
def test_killed_twice_and_gone_on(method: str, base: Path, tmp_path: Path) -> None:
    check_kills(tmp_path, base, method, kills=1, seed=len(method))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_killed_at_twenty_random_moments(method: str, base: Path, tmp_path: Path) -> None:
    check_kills(tmp_path, base, method, kills=20, seed=1)
