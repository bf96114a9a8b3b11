"""A training run's folder as a run leaves it, made in milliseconds without a model."""

import json
from pathlib import Path

import numpy
from PIL import Image
from safetensors.numpy import save_file

from sdstudio.models import sha256_file
from sdstudio.schema import Checkpoint, LoopConfig, TrainConfig, to_json
from sdstudio.workspace import Workspace, write_json


def finished_run(ws: Workspace, run: str, title: str, prompt: str, steps: int = 20, rank: int = 2) -> Path:
    """A run of LoRA that succeeded: config, state, metrics, one sample, checkpoints at half and at the end.

    The validation loss is lowest at half. Returns the run's folder.
    """
    folder = ws.runs / run
    options = {"rank": rank, "trigger": "asim"}
    config = TrainConfig(name=title, dataset="cats", method_options=options, loop=LoopConfig(steps=steps))
    write_json(folder / "config.json", to_json(config))
    state = {"kind": "train", "title": title, "created": 1.0, "started": 1.0, "ended": 9.0, "state": "succeeded"}
    write_json(folder / "state.json", state)
    write_json(folder / "progress.json", {"done": steps, "total": steps, "unit": "steps", "message": "", "time": 9.0})
    rows = [{"step": step, "loss": 1 / step, "grad_norm": 0.5, "lr": 1e-3} for step in range(1, steps + 1)]
    rows += [{"step": step, "val_loss": loss, "val_base": 0.25} for step, loss in ((steps // 2, 0.125), (steps, 0.2))]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "log.txt").write_text("12:00:00  Step 20 of 20\n", encoding="utf-8")
    samples = folder / f"samples/step-{steps:06d}"
    samples.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(samples / "00.png")
    image = {
        "file": "00.png", "prompt": prompt, "negative_prompt": "", "seed": 0, "model": {}, "checkpoint_hash": "",
        "settings": {}, "width": 8, "height": 8,
    }  # fmt: skip
    (samples / "images.jsonl").write_text(json.dumps(image) + "\n", encoding="utf-8")
    for step in (steps // 2, steps):
        write_checkpoint(folder, run, step)
    return folder


def write_checkpoint(folder: Path, run: str, step: int) -> None:
    """LoRA's file, checkpoint.json and the manifest."""
    checkpoint = folder / f"checkpoints/step-{step:06d}"
    checkpoint.mkdir(parents=True)
    weights = {"unet.lora_A.weight": numpy.full((2, 4), step, numpy.float16)}
    save_file(weights, checkpoint / "pytorch_lora_weights.safetensors")
    record = Checkpoint(
        method="lora", method_options={"rank": 2}, base_model="owner/base", base_hash="0" * 64, family="sd",
        trigger="asim", run=run, step=step,
    )  # fmt: skip
    write_json(checkpoint / "checkpoint.json", to_json(record))
    files = {path.name: sha256_file(path) for path in checkpoint.iterdir()}
    write_json(checkpoint / "manifest.json", {"files": files})
