"""DINO and DINOv2: vision transformers that learned without words, and so see what a thing looks like.

Caron et al. 2021, arXiv:2104.14294; Oquab et al. 2023, arXiv:2304.07193. Any folder of a ViTModel or Dinov2Model.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoImageProcessor, AutoModel
from transformers.utils import logging

from sdstudio.features.encoding import BATCH, ImageFeatures, default_device, open_rgb
from sdstudio.features.weights import WeightsMissing
from sdstudio.models import sha256_file
from sdstudio.schema import Feature, UserError

FOLDER, KINDS = "dino", {"vit": "DINO", "dinov2": "DINOv2"}
HUB, REVISION = "facebook/dinov2-base", "f9e44c814b77203eaa57a6bdbbd535f21ede1415"


class DinoEncoder:
    """`pooled` is the class token after the last norm. `fingerprint` is the sha256 of the weights and the settings."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device
        config = AutoConfig.from_pretrained(folder)
        if config.model_type not in KINDS:
            raise UserError(f"{folder} holds a {config.model_type}, not a DINO or DINOv2: put one of these there.")
        self.dimensions = int(config.hidden_size)
        files = [file for pattern in ("*.json", "model*.safetensors") for file in sorted(folder.glob(pattern))]
        lines = "".join(f"{file.name} {sha256_file(file)}\n" for file in files)
        self.fingerprint = hashlib.sha256(lines.encode()).hexdigest()
        self.label = f"{KINDS[config.model_type]} ({self.dimensions}-d, {self.fingerprint[:8]})"
        if not (folder / "preprocessor_config.json").is_file():
            raise UserError(f"{folder} has no preprocessor_config.json, which says how pictures come to size: add it.")
        self._processor: Any = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.preprocessing = _describe(self._processor)

    @cached_property
    def _model(self) -> Any:
        logging.disable_progress_bar()
        model = AutoModel.from_pretrained(self.folder, dtype=torch.float32, use_safetensors=True)
        return model.to(self.device).eval().requires_grad_(False)

    @torch.inference_mode()
    def images(self, paths: Sequence[Path]) -> ImageFeatures:
        """Features of picture files, in batches; a UserError names a file that is not a picture."""
        pooled = [np.zeros((0, self.dimensions), np.float32)]
        for start in range(0, len(paths), BATCH):
            pictures = [open_rgb(path) for path in paths[start : start + BATCH]]
            pixels = self._processor(pictures, return_tensors="pt")["pixel_values"].to(self.device)
            pooled.append(self._model(pixel_values=pixels).last_hidden_state[:, 0].cpu().numpy())
        features = np.concatenate(pooled)
        return ImageFeatures(features, features[:, :0])


def _describe(processor: Any) -> str:
    filter = Image.Resampling(processor.resample).name.lower()
    side = processor.crop_size or processor.size if getattr(processor, "do_center_crop", False) else processor.size
    return f"PIL {filter}, to {side['height']}×{side['width']} px ({type(processor).__name__})"


def load(weights: Path, device: str = "") -> DinoEncoder:
    """The model in the folder `dino` of `weights`, else DINOv2-base of the pinned revision in the Hub's cache.

    Nothing is downloaded; WeightsMissing where neither is here.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder = weights / FOLDER
    if not (folder / "config.json").is_file():
        with suppress(LocalEntryNotFoundError):
            folder = Path(snapshot_download(HUB, revision=REVISION, local_files_only=True))
    if not list(folder.glob("model*.safetensors")):
        raise WeightsMissing(
            f"`hf download {HUB} --revision {REVISION}`, or a DINO's folder at models/features/{FOLDER}"
        )
    return DinoEncoder(folder, device or default_device())


RECORD = Feature(
    name="dino",
    label="DINO",
    summary="A vision transformer that learned without labels: DINOv2-base, or what lies in the folder.",
    paper="Caron et al. 2021, arXiv:2104.14294; Oquab et al. 2023, arXiv:2304.07193",
    dimensions=0,
    load=load,
)
