"""A LoRA file as kohya's scripts write it, which AUTOMATIC1111, ComfyUI and most other programs read."""

from pathlib import Path
from typing import Any

from sdstudio.exports.ldm import unet_name
from sdstudio.exports.lineage import VERSIONS, generation_of, modelspec, training
from sdstudio.methods import lora
from sdstudio.methods.deltas import DELTA
from sdstudio.methods.parts import text_encoders
from sdstudio.models import read_checkpoint
from sdstudio.schema import Export, ModelRef
from sdstudio.workspace import Workspace


def refuse(checkpoint: Path) -> str:
    """Only what LoRA's two matrices can say fits into the file."""
    if (checkpoint / DELTA).is_file():
        return (
            "A LoRA file cannot hold whole layers, which this checkpoint trained too: export it as 'lora+delta', or "
            "merged as 'single-file' or 'diffusers'."
        )
    if not (checkpoint / lora.WEIGHTS).is_file():
        return "This checkpoint holds no LoRA: choose another form."
    if read_checkpoint(checkpoint).method_options.get("dora"):
        return "Programs do not agree on how a file holds DoRA's magnitudes: export it merged, as 'single-file'."
    return ""


def write(ws: Workspace, checkpoint: Path, target: Path, metadata: bool) -> None:
    """Both matrices and the alpha of every layer, in float16."""
    from safetensors.torch import save_file

    from sdstudio.engine.attaching import load_model

    record = read_checkpoint(checkpoint)
    ref = ModelRef(base_model=record.base_model, checkpoint=str(checkpoint))
    pipeline: Any = load_model(ws, ref).pipeline
    config = pipeline.unet.peft_config[lora.ADAPTER]
    said = {"format": "pt"}
    if metadata:
        said |= {
            "ss_network_module": "networks.lora",
            "ss_network_dim": str(config.r),
            "ss_network_alpha": str(float(config.lora_alpha)),
            "ss_base_model_version": VERSIONS[generation_of(pipeline)],
            "ss_sd_model_name": Path(record.base_model).name,
            "ss_v2": str(generation_of(pipeline) == "v2"),
            **training(checkpoint),
            **modelspec(checkpoint, pipeline, "/lora"),
        }
        said["ss_resolution"] = str(tuple(map(int, said["modelspec.resolution"].split("x"))))
    save_file(_tensors(pipeline), target, metadata=said)


def _tensors(pipeline: Any) -> dict[str, Any]:
    """Kohya names a layer by its path with '_' for '.'; in SD XL by its path in the original code."""
    import torch

    tensors = {}
    for prefix, model in _models(pipeline).items():
        alpha = float(model.peft_config[lora.ADAPTER].lora_alpha)
        for name, value in lora.matrices(model).items():
            layer, _, side = name.removesuffix(".weight").rpartition(".")
            key = f"{prefix}_{_path(layer, prefix, pipeline).replace('.', '_')}"
            tensors[f"{key}.lora_{'down' if side == 'lora_A' else 'up'}.weight"] = value.half().cpu().contiguous()
            tensors[f"{key}.alpha"] = torch.tensor(alpha, dtype=torch.float16)
    return tensors


def _models(pipeline: Any) -> dict[str, Any]:
    """The models that have LoRA, by kohya's prefix for each."""
    encoders = text_encoders(pipeline)
    prefixes = ["lora_te"] if len(encoders) == 1 else ["lora_te1", "lora_te2"]
    models = {"lora_unet": pipeline.unet, **dict(zip(prefixes, encoders.values(), strict=True))}
    return {prefix: model for prefix, model in models.items() if lora.ADAPTER in getattr(model, "peft_config", {})}


def _path(layer: str, prefix: str, pipeline: Any) -> str:
    if prefix != "lora_unet":
        return f"text_model.{layer.removeprefix('text_model.')}"
    if generation_of(pipeline) != "xl":
        return layer
    return unet_name(f"{layer}.weight", pipeline.unet.config).removesuffix(".weight")


RECORD = Export(
    name="kohya-lora",
    label="LoRA file (kohya, AUTOMATIC1111, ComfyUI)",
    summary="The LoRA alone, as one small file with its settings and trigger word.",
    suffix=".safetensors",
    refuse=refuse,
    write=write,
)
