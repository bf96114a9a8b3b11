"""CLIP: one frozen encoder for pictures and for text, by default the starter's own.

Radford et al. 2021, arXiv:2103.00020. Takes any CLIPModel folder or Hub id with safetensors weights.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessorPil, CLIPModel
from transformers.utils import logging

from sdstudio.features.encoding import BATCH, Array, ImageFeatures, default_device, open_rgb
from sdstudio.models import STARTER, sha256_file
from sdstudio.schema import Feature, UserError
from sdstudio.workspace import read_json, refuse_pickle, typed_path

FILES = ("*.json", "*.txt", "model*.safetensors")


class ClipEncoder:
    """Frozen CLIP in float32; the weights are read when something is first encoded.

    `pooled` is the vision tower before projection. `fingerprint` is the sha256 of its files: weights, configs and
    tokenizer.
    """

    def __init__(self, folder: Path, name: str, device: str = "cpu") -> None:
        self.folder, self.device = folder, device
        self._processor = CLIPImageProcessorPil.from_pretrained(folder)
        config = CLIPConfig.from_pretrained(folder)
        self.dimensions = int(config.vision_config.hidden_size)
        self._longest = int(config.text_config.max_position_embeddings)
        self.label = f"{name} ({self.dimensions}-d)"
        self.preprocessing = _describe(self._processor)

    @cached_property
    def fingerprint(self) -> str:
        files = sorted(file for pattern in FILES for file in self.folder.glob(pattern))
        lines = "".join(f"{file.name} {sha256_file(file)}\n" for file in files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @cached_property
    def model(self) -> Any:
        logging.disable_progress_bar()
        model, report = CLIPModel.from_pretrained(
            self.folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        if report["missing_keys"]:
            raise UserError(f"The weights in {self.folder} are not a whole CLIPModel: fetch the model again.")
        return model.to(self.device).eval().requires_grad_(False)

    @cached_property
    def _tokenizer(self) -> Any:
        return AutoTokenizer.from_pretrained(self.folder)

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """Those of `texts` that have more tokens than the text tower reads."""
        return [text for text in texts if len(self._tokenizer(text, verbose=False)["input_ids"]) > self._longest]

    def pixels(self, paths: Sequence[Path]) -> torch.Tensor:
        """Picture files as the vision tower takes them, (B, 3, H, W) on its device."""
        pictures = [open_rgb(path) for path in paths]
        pixels: torch.Tensor = self._processor(pictures, return_tensors="pt")["pixel_values"]
        return pixels.to(self.device)

    @torch.inference_mode()
    def images(self, paths: Sequence[Path]) -> ImageFeatures:
        """Features of picture files, in batches; a UserError names a file that is not a picture."""
        pooled = [np.zeros((0, self.dimensions), np.float32)]
        embedding = [np.zeros((0, self.model.config.projection_dim), np.float32)]
        for start in range(0, len(paths), BATCH):
            output = self.model.vision_model(pixel_values=self.pixels(paths[start : start + BATCH])).pooler_output
            pooled.append(output.cpu().numpy())
            embedding.append(_unit(self.model.visual_projection(output)))
        return ImageFeatures(np.concatenate(pooled), np.concatenate(embedding))

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Array:
        """Unit embeddings (N, P) of `texts`, each cut to what the text tower reads."""
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self.device)
        output = self.model.text_model(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return _unit(self.model.text_projection(output.pooler_output))


def load(model: str = "starter", device: str = "") -> ClipEncoder:
    """The encoder that `model` names: 'starter', a CLIPModel folder or a Hub id. `device` empty: a GPU if there is one.

    Raises UserError when the weights are not here and cannot be fetched, or are not a CLIPModel.
    """
    folder, name = (STARTER / "clip", "starter CLIP") if model == "starter" else _find(model)
    config = folder / "config.json"
    if not config.is_file() or read_json(config).get("model_type") != "clip":
        raise UserError(f"{model!r} is not a CLIP model: choose a CLIPModel folder or Hub id.")
    if not list(folder.glob("model*.safetensors")):
        raise UserError(f"The CLIP model {model!r} has no model.safetensors in {folder}: choose one that has.")
    return ClipEncoder(folder, name, device or default_device())


def _find(model: str) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    folder = typed_path(model)
    if folder.is_dir():
        return folder, folder.name
    refuse_pickle(folder)
    try:
        return Path(snapshot_download(model, allow_patterns=list(FILES))), model
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"The CLIP model {model!r} is not here and could not be fetched: "
            f"get it by `hf download {model}`, or choose 'starter'."
        ) from error


def _describe(processor: Any) -> str:
    resampling = Image.Resampling(processor.resample).name.lower()
    crop = f"{processor.crop_size.width}×{processor.crop_size.height}"
    return f"PIL {resampling}, centre crop to {crop} px (CLIPImageProcessorPil)"


def _unit(features: torch.Tensor) -> Array:
    return torch.nn.functional.normalize(features, dim=-1).cpu().numpy()


RECORD = Feature(
    name="clip",
    label="CLIP",
    summary="The protocol's CLIP model, for pictures and texts: the starter's, a folder or a Hub id.",
    paper="Radford et al. 2021, arXiv:2103.00020",
    dimensions=0,
    load=load,
)
