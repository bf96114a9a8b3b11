"""The memory and disk that a run without precedent will take, computed from its model's layers in another process."""

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.jobs.processes import python_environment
from sdstudio.schema import TrainConfig, UserError, from_json
from sdstudio.workspace import Workspace, read_json, write_json

PATIENCE = 600.0
FLOAT, HALF = 4, 2
MOMENTS = {"adamw 8-bit": 2}
"""Bytes of an optimizer's state for each parameter, where they are not two float32 numbers."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """See engine.footprint: numbers of parameters, and bytes kept for one picture in float32."""

    trained: int
    frozen: int
    beside: int
    activations: int

    def memory(self, config: TrainConfig) -> int:
        """Bytes of weights, gradients, moments and activations; what the device's own libraries take is not in it."""
        loop = config.loop
        half = loop.mixed_precision != "no"
        average = FLOAT if loop.ema_decay else 0
        each = FLOAT + FLOAT + MOMENTS.get(loop.optimizer, 2 * FLOAT) + average + (HALF if half else 0)
        kept = self.activations * loop.batch_size * (HALF if half else FLOAT) // FLOAT
        return self.trained * each + self.frozen * (HALF if half else FLOAT) + self.beside * FLOAT + kept

    def checkpoint(self, config: TrainConfig) -> tuple[int, int]:
        """Bytes of what was learned, at most, and of what is needed to go on from it."""
        moments = MOMENTS.get(config.loop.optimizer, 2 * FLOAT)
        return self.trained * FLOAT, self.trained * (FLOAT + moments + (FLOAT if config.loop.ema_decay else 0))


def known(ws: Workspace, config: TrainConfig) -> Footprint | None:
    """The footprint of such a run, if it was computed before."""
    try:
        question = _question(ws, config)
        return from_json(Footprint, read_json(_file(ws, question))) if question else None
    except UserError:
        return None


def compute(ws: Workspace, config: TrainConfig) -> Footprint:
    """The footprint, computed now, which takes seconds, and kept. Raises UserError where the model does not tell."""
    question = _question(ws, config)
    if question is None:
        raise UserError(f"The layers of {config.base_model} are not known before it is on this machine as a folder.")
    command = [sys.executable, "-m", "sdstudio.engine.footprint"]
    environment = {**python_environment(), "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            command,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(
            "The memory that this run takes could not be computed from its model's layers; it shows once it runs."
        ) from error
    answer = json.loads(done.stdout.splitlines()[-1])
    write_json(_file(ws, question), answer)
    return from_json(Footprint, answer)


def _question(ws: Workspace, config: TrainConfig) -> dict[str, Any] | None:
    from sdstudio.training.readiness import local_folder

    folder = local_folder(ws, config.base_model)
    if folder is None or not (folder / "model_index.json").is_file():
        return None
    return {
        "folder": str(folder),
        "method": config.method,
        "options": config.method_options,
        "side": config.loop.resolution,
        "checkpointing": config.loop.gradient_checkpointing,
    }


def _file(ws: Workspace, question: dict[str, Any]) -> Path:
    """Named by the question, the layers included: another model in the same folder is another question."""
    configs = [path.read_text(encoding="utf-8") for path in sorted(Path(question["folder"]).glob("*/config.json"))]
    key = hashlib.sha256(json.dumps([question, configs], sort_keys=True).encode()).hexdigest()
    return ws.cache / "footprints" / f"{key}.json"
