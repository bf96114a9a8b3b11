"""The bundled CLIP's vision tower, which stands in on the starter for the networks that metrics are named after."""

from pathlib import Path

from transformers import CLIPConfig

from sdstudio.features import clip
from sdstudio.models import STARTER
from sdstudio.schema import Feature


def load(weights: Path, device: str = "") -> clip.ClipEncoder:
    """The encoder; its weights are bundled, so that `weights` is not looked at."""
    return clip.load("starter", device)


RECORD = Feature(
    name="starter",
    label="Starter CLIP",
    summary="The bundled CLIP, which has only seen the starter's drawn world; says nothing about photographs.",
    paper="Radford et al. 2021, arXiv:2103.00020",
    dimensions=CLIPConfig.from_pretrained(STARTER / "clip").vision_config.hidden_size,
    load=load,
    bundled=True,
)
