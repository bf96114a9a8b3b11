"""One .safetensors file with the whole model in the original layout, for AUTOMATIC1111, ComfyUI and the like."""

from pathlib import Path

from sdstudio.exports.ldm import clip_tensors, open_clip_tensors, unet_tensors, vae_tensors
from sdstudio.exports.lineage import generation_of, modelspec
from sdstudio.exports.merging import merged
from sdstudio.methods.textual_inversion import FILES
from sdstudio.schema import Export
from sdstudio.workspace import Workspace


def refuse(checkpoint: Path) -> str:
    """A new word is no weight of the model."""
    if any((checkpoint / file).is_file() for file in FILES.values()):
        return "A single file has no room for a new word: export the embedding, which programs load beside any model."
    return ""


def write(ws: Workspace, checkpoint: Path, target: Path, metadata: bool) -> None:
    """The merged weights in float16 under their original names."""
    from safetensors.torch import save_file

    pipeline = merged(ws, checkpoint)
    generation = generation_of(pipeline)
    tensors = unet_tensors(pipeline.unet) | vae_tensors(pipeline.vae)
    if generation == "v1":
        tensors |= clip_tensors(pipeline.text_encoder, "cond_stage_model.transformer.")
    elif generation == "v2":
        tensors |= open_clip_tensors(pipeline.text_encoder, "cond_stage_model.model.")
    else:
        tensors |= clip_tensors(pipeline.text_encoder, "conditioner.embedders.0.transformer.")
        tensors |= open_clip_tensors(pipeline.text_encoder_2, "conditioner.embedders.1.model.")
    said = {"format": "pt"} | (modelspec(checkpoint, pipeline) if metadata else {})
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, target, metadata=said)


RECORD = Export(
    name="single-file",
    label="Single file",
    summary="The whole model with what was learned inside, as one .safetensors file in the original layout.",
    suffix=".safetensors",
    refuse=refuse,
    write=write,
)
