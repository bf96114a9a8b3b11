"""Checkpoints: written whole or not at all, with a sha256 manifest; and the state that lets a run go on."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sdstudio.models import CHECKPOINT_FILE, MANIFEST_FILE, sha256_file
from sdstudio.schema import Checkpoint, UserError, to_json
from sdstudio.workspace import sync_folder, write_json

STATE_FILE = "training_state.safetensors"


def write_checkpoint(run_folder: Path, checkpoint: Checkpoint, save: Callable[[Path], None]) -> Path:
    """Write `checkpoints/step-NNNNNN`: what `save(folder)` puts there, checkpoint.json and the manifest.

    Temporary folder, fsync of every file, rename: a kill at any moment leaves the whole checkpoint or none.
    Raises UserError when the disk does not take it; earlier checkpoints stay.
    """
    folder = run_folder / "checkpoints" / f"step-{checkpoint.step:06d}"
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        save(temporary)
        write_json(temporary / CHECKPOINT_FILE, to_json(checkpoint))
        files = sorted(path for path in temporary.iterdir() if path.is_file())
        for path in files:
            path.chmod(0o644)
            _sync(path)
        write_json(temporary / MANIFEST_FILE, {"files": {path.name: sha256_file(path) for path in files}})
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"The checkpoint of step {checkpoint.step} cannot be written to {folder.parent} "
            f"({error.strerror or error}): free some space and start the run again; it goes on from its last one."
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def save_state(
    folder: Path,
    parameters: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    scaler: torch.amp.GradScaler | None,
) -> None:
    """Write what a later process needs beside the method's own files to go on to the bit.

    Trained parameters at full precision, the optimizer's moments, and the small numbers of learning-rate scheduler and
    loss scaler. Random numbers and the position in the data follow from (seed, step) and need no state.
    """
    state = optimizer.state_dict()
    tensors = {f"parameter.{name}": value.detach().cpu().contiguous() for name, value in parameters.items()}
    for index, moments in state["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.detach().cpu().contiguous() for name, value in moments.items()}
    numbers = {
        "rates": [group["lr"] for group in state["param_groups"]],
        "scheduler": scheduler.state_dict(),
        "scaler": scaler.state_dict() if scaler else {},
    }
    save_file(tensors, folder / STATE_FILE, metadata={"numbers": json.dumps(numbers)})


def load_state(
    folder: Path,
    parameters: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    scaler: torch.amp.GradScaler | None,
) -> None:
    """Put everything that `save_state` wrote back in place."""
    with safe_open(folder / STATE_FILE, framework="pt") as file:
        numbers = json.loads(file.metadata()["numbers"])
        for name, value in parameters.items():
            value.data.copy_(file.get_tensor(f"parameter.{name}"))
        state = optimizer.state_dict()
        state["state"] = {}
        for key in file.keys():  # noqa: SIM118
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                state["state"].setdefault(int(index), {})[name] = file.get_tensor(key)
    for group, rate in zip(state["param_groups"], numbers["rates"], strict=True):
        group["lr"] = rate
    optimizer.load_state_dict(state)
    scheduler.load_state_dict(numbers["scheduler"])
    if scaler and numbers["scaler"]:
        scaler.load_state_dict(numbers["scaler"])
