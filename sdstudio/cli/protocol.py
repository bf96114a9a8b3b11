"""What `sdstudio evaluate` compares by: the starter's protocol for its drawn style, else what the person names."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdstudio import registry
from sdstudio.schema import Job, ModelRef, Protocol, UserError, to_json
from sdstudio.workspace import Workspace, read_json

STARTER_STYLE = "asim-style"
"""The dataset that the starter's prompts, reference and seeds are for."""


def default_protocol(ws: Workspace, arguments: argparse.Namespace, models: Sequence[ModelRef]) -> dict[str, Any]:
    """The settings under the flags, as JSON.

    The starter's when no run is named or all were trained on its style. A UserError when one was trained on something
    else and the flags do not say with what it is to be compared: those numbers would mean nothing.
    """
    from sdstudio.starter.examples import starter_protocol

    strange = [model for model in models if model.checkpoint and _dataset_of(ws, model) != STARTER_STYLE]
    if not strange:
        settings: dict[str, Any] = to_json(starter_protocol(list(models)))
        return settings
    flags = vars(arguments)
    if "prompts" not in flags or not {"reference", "metrics"} & set(flags):
        raise UserError(
            f"{strange[0].label} was not trained on {STARTER_STYLE}, which the default protocol is for: "
            "name --prompts and --reference."
        )
    if "metrics" in flags or "drift_prompts" in flags:
        return {}
    records = registry.load("sdstudio.metrics")
    return {"metrics": [name for name in Protocol().metrics if "drift_prompts" not in records[name].needs]}


def _dataset_of(ws: Workspace, model: ModelRef) -> str:
    """The dataset that the checkpoint's run was trained on; empty where the run's folder is not there."""
    snapshot = (ws.root / model.checkpoint).parents[1] / "snapshot.json"
    return str(read_json(snapshot)["dataset"]) if snapshot.is_file() else ""


def evaluate_command(run: Job) -> str:
    """The command that compares a run with its base model."""
    dataset = read_json(Path(run.folder) / "config.json")["dataset"]
    command = f"sdstudio evaluate --model base --model {run.id}"
    return command if dataset == STARTER_STYLE else f'{command} --prompts "{{trigger}} …" --reference DATASET'
