"""How detection networks of transformers are loaded."""

from pathlib import Path
from typing import Any

from sdstudio import hub
from sdstudio.schema import Box, UserError
from sdstudio.words import first_line


def load_network(models: Any, model: str, what: str, device: str) -> tuple[Any, Any]:
    """(network, processor) of a folder or Hub id on `device`, in single precision; a UserError where it is none.

    `models` is the auto class of transformers, `what` what such a model is called.
    """
    import torch
    import transformers

    folder: Path = hub.model_folder(model)
    processors: Any = transformers.AutoProcessor
    try:
        network, info = models.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        processor = processors.from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(
            f"{model!r} cannot be loaded as {what} ({first_line(error)}); give another folder or Hub id."
        ) from error
    if info["missing_keys"] or info["mismatched_keys"]:
        raise UserError(f"{model!r} lacks weights of {what}; choose a whole one.")
    return network.to(device).eval(), processor


def boxes(found: Any, names: Any) -> list[Box]:
    """What a processor of transformers returns for one picture; `names[i]` is the label of its i-th find."""
    corners = found["boxes"].tolist()
    return [
        Box(label=str(label), score=score, left=box[0], top=box[1], right=box[2], bottom=box[3])
        for label, score, box in zip(names, found["scores"].tolist(), corners, strict=True)
    ]
