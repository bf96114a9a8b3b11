"""LPIPS' formula on the layers of the bundled CLIP, all channels alike: what compares pictures place by place on the
starter."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sdstudio.features import clip
from sdstudio.features.encoding import BATCH, Array, ImageFeatures
from sdstudio.features.lpips import weighted_unit
from sdstudio.schema import Feature


class LayersEncoder:
    """The patches of each block of the vision tower; ‖φ(x) − φ(y)‖² is the mean over blocks and places, from 0 to 4."""

    def __init__(self, encoder: clip.ClipEncoder) -> None:
        self._clip = encoder
        self.label = "starter CLIP's layers"
        self.preprocessing = encoder.preprocessing

    @property
    def fingerprint(self) -> str:
        return f"{self._clip.fingerprint} layers"

    @torch.inference_mode()
    def images(self, paths: Sequence[Path]) -> ImageFeatures:
        """φ of picture files, in batches; a UserError names a file that is not a picture."""
        pooled = [self._batch(paths[start : start + BATCH]) for start in range(0, len(paths), BATCH)]
        features = np.concatenate(pooled)
        return ImageFeatures(features, features[:, :0])

    def _batch(self, paths: Sequence[Path]) -> Array:
        output = self._clip.model.vision_model(pixel_values=self._clip.pixels(paths), output_hidden_states=True)
        blocks = [states[:, 1:].mT[..., None] for states in output.hidden_states[1:]]  # (B, C, patches, 1)
        alike = torch.full((blocks[0].shape[1],), 1 / len(blocks), device=blocks[0].device)
        features: Array = torch.cat([weighted_unit(block, alike) for block in blocks], 1).cpu().numpy()
        return features


def load(weights: Path, device: str = "") -> LayersEncoder:
    """The encoder; its weights are bundled, so that `weights` is not looked at."""
    return LayersEncoder(clip.load("starter", device))


RECORD = Feature(
    name="starter_layers",
    label="Starter CLIP's layers",
    summary="LPIPS' formula on the bundled CLIP without learned weights; says nothing about photographs.",
    paper="Zhang et al. 2018, arXiv:1801.03924, equation 1",
    dimensions=0,
    load=load,
    bundled=True,
)
