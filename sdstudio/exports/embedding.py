"""A textual inversion embedding as one file, which programs load by the word it is named after."""

from pathlib import Path

from sdstudio.exports.lineage import training
from sdstudio.methods.textual_inversion import FILES
from sdstudio.models import read_checkpoint
from sdstudio.schema import Export
from sdstudio.workspace import Workspace


def refuse(checkpoint: Path) -> str:
    """Only textual inversion learns an embedding."""
    if not (checkpoint / FILES["text_encoder"]).is_file():
        return "This checkpoint taught no new word: choose another form."
    return ""


def write(ws: Workspace, checkpoint: Path, target: Path, metadata: bool) -> None:
    """`emb_params` (vectors, width) for SD 1.x and 2.x, `clip_l` and `clip_g` for SD XL, in float32."""
    from safetensors.torch import load_file, save_file

    found = [path for name in FILES.values() if (path := checkpoint / name).is_file()]
    keys = ["emb_params"] if len(found) == 1 else ["clip_l", "clip_g"]
    vectors = {key: next(iter(load_file(path).values())) for key, path in zip(keys, found, strict=True)}
    said = {"format": "pt"}
    if metadata:
        said |= {**training(checkpoint), "modelspec.trigger_phrase": read_checkpoint(checkpoint).trigger}
    save_file(vectors, target, metadata=said)


RECORD = Export(
    name="embedding",
    label="Embedding",
    summary="The new word's vectors, as one file of kilobytes for AUTOMATIC1111, ComfyUI and diffusers.",
    suffix=".safetensors",
    refuse=refuse,
    write=write,
)
