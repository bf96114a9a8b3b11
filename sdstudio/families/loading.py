"""What the families share: reading a diffusers folder or a single .safetensors file, and choosing the sampler."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from sdstudio.models import is_supported, pipeline_class_name
from sdstudio.schema import UserError
from sdstudio.schema.samplers import OWN, SAMPLERS
from sdstudio.words import first_line


@dataclass(frozen=True)
class PictureSize:
    """(height, width) before resizing, (top, left) of the crop after it, (height, width) of the result; pixels."""

    original: tuple[int, int]
    crop: tuple[int, int]
    target: tuple[int, int]


def tensor_names(file: Path) -> frozenset[str]:
    """The names of the tensors in a .safetensors file, read from its header; a UserError when it is damaged."""
    try:
        with safe_open(file, framework="pt") as tensors:
            return frozenset(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file.name} is not a whole .safetensors file ({error}): get the file again.") from error


def is_pipeline_of(path: Path, class_name: str) -> bool:
    """True for a diffusers folder whose model_index.json names this pipeline class."""
    return path.is_dir() and pipeline_class_name(path) == class_name


def load_folder(path: Path, pipeline_class: type[DiffusionPipeline], dtype: torch.dtype) -> DiffusionPipeline:
    """Load a diffusers folder from safetensors weights only."""
    try:
        return pipeline_class.from_pretrained(path, dtype=dtype, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(
            f"The model folder {path} cannot be loaded ({first_line(error)}): it must hold every component that its "
            "model_index.json names, with .safetensors weights."
        ) from error


def load_single_file(
    path: Path, pipeline_class: type[DiffusionPipeline], config_repository: str, dtype: torch.dtype
) -> DiffusionPipeline:
    """Load a single file in the original (LDM) layout.

    Such a file holds weights only. Its configuration and tokenizer come from a diffusers folder: the file's own
    folder, a folder beside it of the file's name without '.safetensors', or `config_repository` of the Hub (its cache
    first). Raises UserError saying so when there is none.
    """
    config = _config_folder(path, config_repository)
    try:
        return pipeline_class.from_single_file(str(path), config=str(config), dtype=dtype, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"{path.name} does not fit the configuration in {config} ({first_line(error)}): put the configuration of "
            f"its own model in the folder {path.with_suffix('')}."
        ) from error


def _config_folder(path: Path, repository: str) -> Path:
    for folder in (path.with_suffix(""), path.parent):
        if (folder / "model_index.json").is_file() and is_supported(folder):
            return folder
    patterns = ["*.json", "*.txt", "*/*.json", "*/*.txt"]
    for local in (True, False):
        try:
            return Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=local))
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
            continue
    raise UserError(
        f"{path.name} holds only weights, and the Hub cannot be reached for the configuration and tokenizer of "
        f"{repository}: connect once, or put that model's diffusers folder (weights may be left out) at "
        f"{path.with_suffix('')}."
    )


def with_sampler(pipeline: DiffusionPipeline, sampler: str) -> DiffusionPipeline:
    """The same weights under another sampler of `schema.samplers`."""
    if sampler == OWN:
        return pipeline
    chosen = SAMPLERS[sampler]
    scheduler = getattr(diffusers, chosen.scheduler).from_config(pipeline.scheduler.config, **chosen.settings)
    return type(pipeline)(**{**pipeline.components, "scheduler": scheduler}, **_flags(pipeline))


def _flags(pipeline: DiffusionPipeline) -> dict[str, Any]:
    """Constructor arguments of the pipeline that are not components, such as `force_zeros_for_empty_prompt`."""
    accepted = {"requires_safety_checker", "force_zeros_for_empty_prompt"}
    return {key: value for key, value in pipeline.config.items() if key in accepted}
