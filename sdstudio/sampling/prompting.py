"""Prompts as the U-Net takes them: weights on words, chunks beyond 77 tokens, layers of the text encoder skipped.

A prompt without such syntax that fits one chunk becomes what the plain diffusers pipeline makes of it, to the bit.
"""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders import TextualInversionLoaderMixin
from torch import Tensor

from sdstudio.prompts import Part, parse

MOST_CHUNKS = 8


@dataclass(frozen=True)
class Chunk:
    """One window of a text encoder: token ids with begin, end and padding, and the weight of each."""

    ids: list[int]
    weights: list[float]


@torch.no_grad()
def prompt_arguments(
    pipeline: DiffusionPipeline, prompts: list[str], negative_prompts: list[str], clip_skip: int = 0
) -> dict[str, Tensor]:
    """The pipeline's keyword arguments that stand for these prompts (N) and as many negative ones.

    `prompt_embeds` (N, 77·windows, width) and its negative, for Stable Diffusion XL the pooled ones too; all prompts
    are brought to the longest one's number of windows. `clip_skip` leaves out as many last layers of the text encoders.
    """
    length = windows(pipeline, [*prompts, *negative_prompts])
    found = {}
    for prefix, texts in (("", prompts), ("negative_", negative_prompts)):
        hidden, pooled = embeddings(pipeline, texts, clip_skip, length)
        if prefix:
            hidden, pooled = without_empty(pipeline, texts, hidden, pooled)
        found[f"{prefix}prompt_embeds"] = hidden
        if pooled is not None:
            found[f"{prefix}pooled_prompt_embeds"] = pooled
    return found


def without_empty(
    pipeline: DiffusionPipeline, texts: list[str], hidden: Tensor, pooled: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The same embeddings, all zeros for empty texts where the model was trained so (SDXL)."""
    if not pipeline.config.get("force_zeros_for_empty_prompt") or pooled is None:
        return hidden, pooled
    empty = torch.tensor([not text for text in texts], device=hidden.device)
    return hidden.masked_fill(empty[:, None, None], 0.0), pooled.masked_fill(empty[:, None], 0.0)


def embeddings(
    pipeline: DiffusionPipeline, texts: list[str], clip_skip: int, length: int
) -> tuple[Tensor, Tensor | None]:
    """Hidden states (N, 77·length, width) and, for SDXL, pooled ones (N, width₂) of each first window.

    With gradients where they are on; what is beyond `length` windows is cut.
    """
    two = _has_two(pipeline)
    encoders = [pipeline.text_encoder, pipeline.text_encoder_2] if two else [pipeline.text_encoder]
    hidden, pooled = [], None
    for tokenizer, encoder in zip(_tokenizers(pipeline), encoders, strict=True):
        chunked = [chunks(pipeline, tokenizer, text) for text in texts]
        padded = [parts + [_chunk(tokenizer, [], [])] * (length - len(parts)) for parts in chunked]
        columns = []
        for place in range(length):
            column = [parts[place] for parts in padded]
            ids = torch.tensor([chunk.ids for chunk in column], device=encoder.device)
            states, first = _encode(encoder, tokenizer, ids, clip_skip, two)
            weights = torch.tensor([chunk.weights for chunk in column])
            columns.append(states if bool((weights == 1).all()) else weighed(states, weights))
            pooled = first if place == 0 else pooled
        hidden.append(torch.cat(columns, dim=1))
    return torch.cat(hidden, dim=-1), pooled if two else None


def _has_two(pipeline: DiffusionPipeline) -> bool:
    return getattr(pipeline, "text_encoder_2", None) is not None


def _tokenizers(pipeline: DiffusionPipeline) -> list[Any]:
    return [pipeline.tokenizer, pipeline.tokenizer_2] if _has_two(pipeline) else [pipeline.tokenizer]


def chunks(pipeline: DiffusionPipeline, tokenizer: Any, text: str) -> list[Chunk]:
    """The windows of `text`; a new one begins at BREAK and wherever one is full. At most MOST_CHUNKS are read."""
    room = tokenizer.model_max_length - 2
    found = []
    for parts in parse(text):
        ids, weights = _tokens(pipeline, tokenizer, parts)
        for start in range(0, max(len(ids), 1), room):
            found.append(_chunk(tokenizer, ids[start : start + room], weights[start : start + room]))
    return found[:MOST_CHUNKS]


def windows(pipeline: DiffusionPipeline, texts: list[str]) -> int:
    """How many windows the longest of `texts` takes, in any of the text encoders."""
    return max(len(chunks(pipeline, tokenizer, text)) for tokenizer in _tokenizers(pipeline) for text in texts)


def tokens_used(pipeline: DiffusionPipeline, text: str) -> tuple[int, int]:
    """How many tokens the words of `text` take, and how many of them are read."""
    room = pipeline.tokenizer.model_max_length - 2
    counts = [len(_tokens(pipeline, pipeline.tokenizer, parts)[0]) for parts in parse(text)]
    left, read = MOST_CHUNKS, 0
    for count in counts:
        windows = max(-(-count // room), 1)
        read += min(count, max(left, 0) * room)
        left -= windows
    return sum(counts), read


def _tokens(pipeline: DiffusionPipeline, tokenizer: Any, parts: list[Part]) -> tuple[list[int], list[float]]:
    ids: list[int] = []
    weights: list[float] = []
    for part in parts:
        text = part.text
        if isinstance(pipeline, TextualInversionLoaderMixin):
            text = pipeline.maybe_convert_prompt(text, tokenizer)
        new = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
        ids += new
        weights += [part.weight] * len(new)
    return ids, weights


def _chunk(tokenizer: Any, ids: list[int], weights: list[float]) -> Chunk:
    room = tokenizer.model_max_length - 2 - len(ids)
    return Chunk(
        ids=[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * room],
        weights=[1.0, *weights, 1.0, *[1.0] * room],
    )


def _encode(encoder: Any, tokenizer: Any, ids: Tensor, clip_skip: int, penultimate: bool) -> tuple[Tensor, Tensor]:
    """Hidden states and the first output of one text encoder, as the pipelines of diffusers take them."""
    mask = (ids != tokenizer.pad_token_id).long() if getattr(encoder.config, "use_attention_mask", False) else None
    if penultimate:
        output = encoder(ids, output_hidden_states=True)
        return output.hidden_states[-(clip_skip + 2)], output[0]
    if not clip_skip:
        output = encoder(ids, attention_mask=mask)
        return output[0], output[0]
    output = encoder(ids, attention_mask=mask, output_hidden_states=True)
    body = getattr(encoder, "text_model", encoder)
    return body.final_layer_norm(output.hidden_states[-(clip_skip + 1)]), output[0]


def weighed(hidden: Tensor, weights: Tensor) -> Tensor:
    """Token embeddings (N, T, W) times their weights (N, T), each caption brought back to its own norm.

    As AUTOMATIC1111's web UI does, but for the norm: it keeps the mean, which may be near zero and then scales wildly.
    """
    weights = weights.to(hidden)[..., None]
    scaled = hidden * weights
    back = hidden.norm(dim=(1, 2), keepdim=True) / scaled.norm(dim=(1, 2), keepdim=True).clamp(min=1e-8)
    return torch.where((weights == 1).all(dim=1, keepdim=True), hidden, scaled * back)
