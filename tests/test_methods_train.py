"""Every method through the whole loop: it trains, a killed run goes on to the same weights, its checkpoint draws.

pytest tests/test_methods_train.py     all of them: pytest -m "slow or not slow" tests/test_methods_train.py
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny_models import build, context, draw_from, make_dataset, metrics

from sdstudio import registry
from sdstudio.engine.attaching import load_model
from sdstudio.engine.drawing import draw
from sdstudio.engine.run import Run
from sdstudio.engine.train import run_train
from sdstudio.models import latest_checkpoint, read_checkpoint
from sdstudio.schema import LoopConfig, ModelRef, SampleSettings, TrainConfig
from sdstudio.workspace import Workspace

LOOP = LoopConfig(steps=4, batch_size=2, warmup_steps=0, checkpoint_every=2, sample_every=4, caption_dropout=0.3)
FAST = {"learning_rate": 0.01}
PRIOR = {"class_word": "toy", "prior_images": 2}
CASES: dict[str, dict[str, Any]] = {
    "full": {"text_encoder": True, "text_encoder_learning_rate": 0.01},
    "lora": {"text_encoder": True, "dora": True, "dropout": 0.1},
    "dreambooth": PRIOR,
    "textual_inversion": {"vectors": 2, "initial_word": "toy"},
    "dreambooth_lora": {**PRIOR, "detailed_captions": False},
    "sam": {"prior_folder": "men", "class_word": "man", "negative_examples": "bad", "layers_learning_rate": 0.01},
}
METHODS = registry.load("sdstudio.methods")
CASES |= {name: {} for name in METHODS if name not in CASES}
QUICK = {("textual_inversion", "sdxl"), ("sam", "sd1")}
TRIGGERS = {name: "<asim>" if name == "textual_inversion" else "asim" for name in CASES}


COMBINATIONS = [
    pytest.param(name, kind, marks=() if (name, kind) in QUICK else pytest.mark.slow)
    for name in CASES
    for kind in ("sd1", "sdxl")
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in ("sd1", "sdxl"):
        build(kind, root / kind)
    return root


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    make_dataset(workspace)
    make_dataset(workspace, "men", ["a man", "another man"])
    make_dataset(workspace, "bad", ["asim. a toy with two heads", "asim. a toy, negative left hand"])
    return workspace


def test_every_case_is_one_of_a_method() -> None:
    assert CASES.keys() == METHODS.keys()


@pytest.mark.parametrize(("name", "kind"), COMBINATIONS)
def test_it_trains_goes_on_after_a_kill_and_draws(name: str, kind: str, tiny: Path, ws: Workspace) -> None:
    known = METHODS[name].Options.__dataclass_fields__
    options = {**{key: value for key, value in FAST.items() if key in known}, **CASES[name]}
    config = TrainConfig(dataset="toys", base_model=str(tiny / kind), method=name, method_options=options, loop=LOOP)
    whole, broken = context(ws, "runs", "whole"), context(ws, "runs", "broken")
    run_train(config, whole)
    step = Run.step

    def dying(run: Run, number: int) -> Any:
        if number > 3:
            raise KeyboardInterrupt
        return step(run, number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "step", dying)
        run_train(config, broken)
    run_train(config, broken)
    assert metrics(broken) == metrics(whole) != []

    newest = latest_checkpoint(whole.folder)
    assert newest is not None
    record = read_checkpoint(newest)
    assert record.trigger == record.method_options["trigger"] == TRIGGERS[name]
    assert record.negative_parts == (["eyes", "left hand"] if name == "sam" else [])
    weights = [path.name for path in newest.glob("*.safetensors") if "state" not in path.name]
    for file in weights:
        one, other = load_file(newest / file), load_file(broken.folder / newest.relative_to(whole.folder) / file)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)

    settings = SampleSettings(steps=2)
    prompt = [f"{record.trigger}. a toy"]
    refs = [ModelRef(base_model=str(tiny / kind), checkpoint=ref) for ref in ("", "runs/whole/checkpoints/step-000004")]
    base, trained = (draw_from(ws, ref, prompt, [1], replace(settings), ws.root / "drawn")[0] for ref in refs)
    assert (ws.root / "drawn" / base.file).read_bytes() != (ws.root / "drawn" / trained.file).read_bytes()
    said = "asked with 'no negative eyes, no negative left hand', as negative examples taught it"
    assert (said in trained.flags) == (name == "sam") and trained.prompt == prompt[0]


def test_what_negative_examples_taught_is_asked_of_the_model(tiny: Path, ws: Workspace) -> None:
    model = load_model(ws, ModelRef(base_model=str(tiny / "sd1")))
    told = "a toy, no negative eyes"
    wary, ref, settings = replace(model, negative_parts=("eyes",)), ModelRef(), SampleSettings(steps=2)
    cases = {"a": (wary, "a toy"), "b": (model, told), "c": (model, "a toy")}
    drawn = {
        name: draw(loaded, ref, [prompt], [1], settings, ws.root / name)[0] for name, (loaded, prompt) in cases.items()
    }
    pixels = [Image.open(ws.root / name / image.file).tobytes() for name, image in drawn.items()]
    assert pixels[0] == pixels[1] != pixels[2]
