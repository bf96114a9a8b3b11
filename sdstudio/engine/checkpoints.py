"""Checkpoints: written whole or not at all, with a sha256 manifest; and the state that lets a run go on."""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sdstudio.engine.average import Average
from sdstudio.models import CHECKPOINT_FILE, MANIFEST_FILE, damage, damaged_files, sha256_file
from sdstudio.schema import Checkpoint, UserError, to_json
from sdstudio.workspace import sync_folder, write_json

STATE_FOLDER = "state"
STATE_FILE = "training_state.safetensors"


def write_checkpoint(
    run_folder: Path,
    checkpoint: Checkpoint,
    save: Callable[[Path], None],
    save_state: Callable[[Path], None] | None = None,
) -> Path:
    """Write `checkpoints/step-NNNNNN`: what `save(folder)` puts there, checkpoint.json and the manifest.

    `save_state(folder)` writes what only a resumed run needs into the folder `state` inside, which has a manifest of
    its own: it may be taken away later, and the checkpoint stays whole.
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
        with ThreadPoolExecutor() as threads:  # the disk takes the one while the other is written
            sealed = threads.submit(_seal, temporary)
            if save_state:
                save_state(temporary / STATE_FOLDER)
            sealed.result()
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


def _seal(folder: Path) -> None:
    """Make the folder's files durable and write the manifest of their sha256."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    with ThreadPoolExecutor() as threads:  # hashes are made while the disk is waited for
        synced = threads.map(_sync, files)
        digests = list(threads.map(sha256_file, files))
        list(synced)
    write_json(
        folder / MANIFEST_FILE, {"files": {path.name: digest for path, digest in zip(files, digests, strict=True)}}
    )


def _sync(path: Path) -> None:
    path.chmod(0o644)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@dataclass(frozen=True)
class TrainingState:
    """What a later process needs beside a method's own files to go on to the bit.

    Trained parameters at full precision, their moving average, the optimizer's moments, and the small numbers of
    optimizer, learning-rate scheduler and loss scaler. Random numbers and the position in the data follow from
    (seed, step) and need no state.
    """

    parameters: dict[str, Tensor]
    average: Average
    optimizer: torch.optim.Optimizer
    scheduler: Any
    scaler: torch.amp.GradScaler | None

    def checkpoint_size(self) -> int:
        """Bytes that a checkpoint takes at most: parameters and both moments here, parameters in the method's files."""
        trained = sum(value.nbytes for value in self.parameters.values())
        return 4 * trained + sum(value.nbytes for value in self.average.values.values())

    def save(self, folder: Path) -> None:
        """Write the state into `folder`, with its manifest."""
        folder.mkdir()
        state = self.optimizer.state_dict()
        tensors = {f"parameter.{name}": value for name, value in self.parameters.items()}
        tensors |= {f"average.{name}": value for name, value in self.average.values.items()}
        moments: dict[str, dict[str, Any]] = {}
        for index, values in state["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{name}"] = value
                else:
                    moments.setdefault(str(index), {})[name] = value
        numbers = {
            "groups": [
                {key: _number(value) for key, value in group.items() if key != "params"}
                for group in state["param_groups"]
            ],
            "moments": moments,
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else {},
        }
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(plain, folder / STATE_FILE, metadata={"numbers": json.dumps(numbers)})
        _seal(folder)

    def load(self, folder: Path) -> None:
        """Put everything that `save` wrote back in place."""
        with safe_open(folder / STATE_FILE, framework="pt") as file:
            numbers = json.loads(file.metadata()["numbers"])
            for name, value in self.parameters.items():
                value.data.copy_(file.get_tensor(f"parameter.{name}"))
            for name, value in self.average.values.items():
                value.copy_(file.get_tensor(f"average.{name}"))
            state = self.optimizer.state_dict()
            state["state"] = {int(index): dict(values) for index, values in numbers["moments"].items()}
            for key in file.keys():  # noqa: SIM118
                if key.startswith("optimizer."):
                    _, index, name = key.split(".")
                    state["state"].setdefault(int(index), {})[name] = file.get_tensor(key)
        for group, saved in zip(state["param_groups"], numbers["groups"], strict=True):
            group |= {key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()}
        self.optimizer.load_state_dict(state)
        self.scheduler.load_state_dict(numbers["scheduler"])
        if self.scaler and numbers["scaler"]:
            self.scaler.load_state_dict(numbers["scaler"])


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def resumable(run_folder: Path) -> Path | None:
    """The newest checkpoint that is whole and whose training state is; None when there is none."""
    folders = sorted((run_folder / "checkpoints").glob("step-*"), reverse=True)
    return next((one for one in folders if not damage(one) and not state_damage(one)), None)


def steps_kept(run_folder: Path) -> list[int]:
    """The steps of the run's checkpoints, the newest last, whether they are whole or not."""
    return sorted(_step(folder) for folder in (run_folder / "checkpoints").glob("step-*"))


def state_damage(checkpoint: Path) -> str:
    """What is wrong with the checkpoint's training state; empty when it is whole."""
    return damaged_files(checkpoint / STATE_FOLDER)


def tidy(run_folder: Path, keep: Callable[[int], bool], with_state: int = 0) -> list[int]:
    """Remove the checkpoints whose step `keep` does not want, and the training state of all but `with_state` (0: all).

    Nothing is removed unless the newest checkpoint is whole. Returns the steps removed.
    """
    folders = sorted((run_folder / "checkpoints").glob("step-*"))
    removed = [folder for folder in folders[:-1] if not keep(_step(folder))]
    kept = [folder for folder in folders if folder not in removed]
    states = [folder / STATE_FOLDER for folder in (kept[:-with_state] if with_state else ())]
    unwanted = [*removed, *(state for state in states if state.exists())]
    if not unwanted or damage(folders[-1]) or state_damage(folders[-1]):
        return []
    for folder in unwanted:
        _remove(folder)
    return [_step(folder) for folder in removed]


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _remove(folder: Path) -> None:
    """Out of sight first: a kill in between leaves no half checkpoint."""
    hidden = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
