"""Checkpoints hold only what a method changed.   pytest tests/test_engine_sizes.py

The U-Net has the shapes of Stable Diffusion 1.5 but no memory; only what the method trains is made and written.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from sdstudio import registry
from sdstudio.engine.checkpoints import write_checkpoint
from sdstudio.methods.parts import Trainable
from sdstudio.schema import Checkpoint, to_json

MEGABYTE = 1_000_000


@pytest.fixture
def unet() -> UNet2DConditionModel:
    """Stable Diffusion 1.5's, by its published config: 859,520,964 parameters."""
    with torch.device("meta"):
        model = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    assert sum(value.numel() for value in model.parameters()) == 859_520_964
    return model


def size_of_checkpoint(method_name: str, options: dict[str, object], unet: UNet2DConditionModel, folder: Path) -> int:
    """Bytes of the files of one checkpoint, what only a resumed run needs left out."""
    method = registry.load("sdstudio.methods")[method_name]
    chosen = method.Options(**options)
    pipeline = SimpleNamespace(unet=unet, save_lora_weights=StableDiffusionPipeline.save_lora_weights)
    trainable: Trainable = method.prepare(pipeline, chosen)
    places = {id(value): name for name, value in unet.named_parameters()}
    for group in trainable.groups:
        for name, value in group.parameters.items():
            owner, _, last = places[id(value)].rpartition(".")
            group.parameters[name] = torch.nn.Parameter(torch.zeros(value.shape))
            setattr(unet.get_submodule(owner), last, group.parameters[name])
    originals = {name: torch.zeros(value.shape) for name, value in trainable.originals.items()}
    trainable = replace(trainable, originals=originals)
    record = Checkpoint(
        method=method_name,
        method_options=to_json(chosen),
        base_model="stable-diffusion-v1-5/stable-diffusion-v1-5",
        base_hash="0" * 64,
        family="sd",
        trigger="asim",
        run="run",
        step=8000,
    )
    written = write_checkpoint(folder, record, lambda place: method.save(pipeline, trainable, place))
    return sum(path.stat().st_size for path in written.rglob("*") if path.is_file())


def test_sam_at_rank_4_is_a_thirty_fifth_of_the_published_one(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    size = size_of_checkpoint("sam", {"rank": 4}, unet, tmp_path)
    assert 30 * MEGABYTE < size <= 40 * MEGABYTE, size


def test_lora_at_rank_4_is_small(unet: UNet2DConditionModel, tmp_path: Path) -> None:
    size = size_of_checkpoint("lora", {"rank": 4, "targets": "attention"}, unet, tmp_path)
    assert 1 * MEGABYTE < size <= 3.5 * MEGABYTE, size
