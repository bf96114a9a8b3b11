"""How much memory a training step takes, counted on the model's layers without their weights.

python -m sdstudio.engine.footprint < QUESTION   (JSON: base folder, method, its options, side)

The U-Net and text encoders are built on torch's meta device, where a tensor has a shape and no content, the method
prepares them as for a run, and one forward pass tells what autograd keeps for the backward pass. That takes seconds and
next to no memory, whatever the model's size. Attention counts as fused (Dao et al. 2022, arXiv:2205.14135), as torch
does it on GPUs and CPUs alike: it keeps its inputs and outputs, never the matrix between them.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from sdstudio.engine.pipeline import find_method
from sdstudio.methods.parts import named_parameters, text_encoders
from sdstudio.schema import from_json, to_json

TOKENS = 77
LATENT = 8
"""Pixels of a picture's side for one of its latent's."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Numbers of parameters, and the bytes that one picture's forward pass keeps in float32.

    `trained` are the parameters that learn, `frozen` the U-Net's others, `beside` those of text encoders and VAE.
    """

    trained: int
    frozen: int
    beside: int
    activations: int


def count(folder: Path, method: str, options: dict[str, Any], side: int, checkpointing: bool) -> Footprint:
    """The footprint of a run on the diffusers model in `folder`, with pictures of `side` px (0: the model's own)."""
    with torch.device("meta"):
        pipeline = _build(folder)
        before = {id(parameter) for parameter in pipeline.unet.parameters()}
        record = find_method(method)
        trainable = record.prepare(pipeline, from_json(record.Options, options))
        if checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        kept = _kept_by_a_step(pipeline, side, trainable.trains_text)
    learns = {id(value): value.numel() for value in trainable.parameters.values()}
    unet = {id(value): value.numel() for value in pipeline.unet.parameters() if id(value) in before}
    others = [*text_encoders(pipeline).values(), pipeline.vae]
    beside = {id(value): value.numel() for part in others for value in part.parameters()}
    return Footprint(
        trained=sum(learns.values()),
        frozen=sum(number for key, number in unet.items() if key not in learns),
        beside=sum(number for key, number in beside.items() if key not in learns),
        activations=kept,
    )


def _build(folder: Path) -> Any:
    """What methods and the forward pass need of a pipeline."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet")),
        "vae": AutoencoderKL.from_config(AutoencoderKL.load_config(folder / "vae")),
    }
    for name in ("text_encoder", "text_encoder_2"):
        if index.get(name, [None])[0]:
            kind = CLIPTextModelWithProjection if index[name][1].endswith("Projection") else CLIPTextModel
            parts[name] = kind(CLIPTextConfig.from_pretrained(folder / name))
            tokenizer = name.replace("text_encoder", "tokenizer")
            parts[tokenizer] = CLIPTokenizer.from_pretrained(folder / tokenizer)
    return SimpleNamespace(**parts)


def _kept_by_a_step(pipeline: Any, side: int, trains_text: bool) -> int:
    unet = pipeline.unet.train()
    size = side // LATENT or unet.config.sample_size
    weights = {value.untyped_storage()._cdata for value in named_parameters(pipeline).values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), _fused_attention():
        if trains_text:
            for encoder in text_encoders(pipeline).values():
                encoder.train()(torch.zeros(1, TOKENS, dtype=torch.long), output_hidden_states=True)
        latents = torch.zeros(1, unet.config.in_channels, size, size)
        text = torch.zeros(1, TOKENS, unet.config.cross_attention_dim, requires_grad=trains_text)
        unet(latents, torch.zeros(1, dtype=torch.long), text, added_cond_kwargs=_added(unet))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _added(unet: Any) -> dict[str, Tensor] | None:
    """Stable Diffusion XL's pooled text and sizes."""
    if unet.config.addition_embed_type != "text_time":
        return None
    sizes = 6
    width = unet.config.projection_class_embeddings_input_dim - sizes * unet.config.addition_time_embed_dim
    return {"text_embeds": torch.zeros(1, width), "time_ids": torch.zeros(1, sizes)}


class _Fused(torch.autograd.Function):
    """What fused attention keeps, without its arithmetic."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        answer = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, answer, query.new_empty(query.shape[:-1]))
        return answer


@contextmanager
def _fused_attention() -> Iterator[None]:
    own = functional.scaled_dot_product_attention

    def fused(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        answer: Tensor = _Fused.apply(query, key, value)
        return answer

    functional.scaled_dot_product_attention = fused
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = own


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(to_json(count(Path(asked.pop("folder")), **asked))))
