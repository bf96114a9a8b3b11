"""Captions as the U-Net takes them: encoded once each, or anew in every step where a text encoder learns."""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from sdstudio.sampling.prompting import embeddings, without_empty
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
        hidden, pooled = embeddings(self._pipeline, captions, clip_skip=0, length=1)
        hidden, pooled = without_empty(self._pipeline, captions, hidden, pooled)
        return {"encoder_hidden_states": hidden} | ({} if pooled is None else {"text_embeds": pooled})


def _size(row: dict[str, Tensor]) -> int:
    return sum(value.nbytes for value in row.values())
