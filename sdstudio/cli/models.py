"""What `--model` means on the command line."""

from collections.abc import Sequence
from pathlib import Path

from sdstudio.schema import ModelRef, UserError
from sdstudio.workspace import Workspace, typed_path

MODEL_HELP = "a model to ask: 'base', a run's id, a checkpoint folder, or a base model; may be given several times"


def model_refs(ws: Workspace, names: Sequence[str]) -> list[ModelRef]:
    """What `--model` means: 'base', a run's id, a checkpoint folder, or anything that `--base-model` takes.

    'base' is the base model of the first checkpoint named, the starter when there is none.
    """
    refs = [None if name == "base" else _model_ref(ws, name) for name in names]
    base = next((ref.base_model for ref in refs if ref), "starter")
    return [ref or ModelRef(base_model=base, label="base") for ref in refs]


def _model_ref(ws: Workspace, name: str) -> ModelRef:
    from sdstudio.models import read_checkpoint, resolve_base_model, resolve_checkpoint

    is_run = name.startswith("runs/") or (ws.runs / name).is_dir() or "checkpoints" in Path(name).parts
    if is_run or (typed_path(name) / "checkpoint.json").is_file():
        path = resolve_checkpoint(ws, name)
        checkpoint = read_checkpoint(path)
        return ModelRef(
            base_model=checkpoint.base_model, checkpoint=str(path), label=f"{checkpoint.run} step {checkpoint.step}"
        )
    try:
        return ModelRef(base_model=resolve_base_model(ws, name).ref, label=name)
    except UserError as error:
        raise UserError(
            f"{name!r} is no run (`sdstudio jobs list --kind train` shows them), nor a model. {error}"
        ) from error
