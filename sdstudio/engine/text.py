"""Captions as the U-Net takes them: encoded once each, or anew in every step where a text encoder learns."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from sdstudio.engine.captions import Weighted, weighted
from sdstudio.sampling.prompting import weighed
from sdstudio.schema import Family

IN_MEMORY = 512 * 2**20


class Texts:
    """Text conditions of captions, each tensor (N, …), on the device of the text encoder.

    Where nothing of the text encoders learns, a caption is encoded when it first comes, by itself, so that its
    embedding does not depend on what else is in the batch, and kept as long as there is room for it.
    Where something does, all are encoded together with gradients, under `autocast`.
    """

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        family: Family,
        *,
        read_weights: bool = False,
        learns: bool = False,
        autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._pipeline, self._family = pipeline, family
        self._read_weights, self._learns, self._autocast = read_weights, learns, autocast
        self._memory: OrderedDict[str, dict[str, Tensor]] = OrderedDict()
        self._bytes = 0

    def __call__(self, captions: list[str]) -> dict[str, Tensor]:
        if self._learns:
            with self._autocast():
                return self._encoded(captions)
        rows = [self._kept(caption) for caption in captions]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def _kept(self, caption: str) -> dict[str, Tensor]:
        if caption in self._memory:
            self._memory.move_to_end(caption)
            return self._memory[caption]
        with torch.no_grad():
            row = self._encoded([caption])
        self._memory[caption] = row
        self._bytes += _size(row)
        while self._bytes > IN_MEMORY and len(self._memory) > 1:
            self._bytes -= _size(self._memory.popitem(last=False)[1])
        return row

    def _encoded(self, captions: list[str]) -> dict[str, Tensor]:
        if not self._read_weights:
            return self._family.encode_prompts(self._pipeline, captions)
        read = [weighted(caption) for caption in captions]
        text = self._family.encode_prompts(self._pipeline, [item.text for item in read])
        hidden = text["encoder_hidden_states"]
        return {**text, "encoder_hidden_states": weighed(hidden, token_weights(self._pipeline.tokenizer, read))}


def _size(row: dict[str, Tensor]) -> int:
    return sum(value.nbytes for value in row.values())


def token_weights(tokenizer: Any, captions: list[Weighted]) -> Tensor:
    """(N, T) weights of the tokens that the text encoder sees: that of the characters a token was made from, or 1."""
    cut = tokenizer(
        [caption.text for caption in captions],
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_offsets_mapping=True,
    )
    weights = torch.ones(len(captions), len(cut["offset_mapping"][0]))
    for row, (caption, offsets) in enumerate(zip(captions, cut["offset_mapping"], strict=True)):
        for place, (begin, end) in enumerate(offsets):
            for first, last, weight in caption.spans:
                if begin < end and first <= begin < last:
                    weights[row, place] = weight
    return weights
