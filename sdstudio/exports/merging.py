"""A checkpoint put into its base model for good: what is left is a plain pipeline in float16."""

from pathlib import Path
from typing import Any

from sdstudio.models import read_checkpoint
from sdstudio.schema import ModelRef
from sdstudio.workspace import Workspace


def merged(ws: Workspace, checkpoint: Path) -> Any:
    """The pipeline of the checkpoint's base model with its change added to the weights, LoRA matrices included."""
    import torch

    from sdstudio.engine.attaching import load_model
    from sdstudio.methods.parts import text_encoders

    ref = ModelRef(base_model=read_checkpoint(checkpoint).base_model, checkpoint=str(checkpoint))
    pipeline: Any = load_model(ws, ref).pipeline
    models = {"unet": pipeline.unet, **text_encoders(pipeline)}
    adapted = [name for name, model in models.items() if getattr(model, "peft_config", None)]
    if adapted:
        pipeline.fuse_lora(components=adapted)
        pipeline.unload_lora_weights()
    return pipeline.to(torch.float16)
