"""Captions as the U-Net takes them: encoded once each, or anew in every step where a text encoder learns."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from sdstudio.engine.remembered import Remembered
from sdstudio.sampling.prompting import embeddings, without_empty
from sdstudio.schema import Family


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
        self._memory = Remembered[dict[str, Tensor]](lambda row: sum(value.nbytes for value in row.values()))

    def __call__(self, captions: list[str]) -> dict[str, Tensor]:
        if self._learns:
            with self._autocast():
                return self._encoded(captions)
        rows = [self._memory.get(caption, partial(self._alone, caption)) for caption in captions]
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def _alone(self, caption: str) -> dict[str, Tensor]:
        return self._encoded([caption])

    def _encoded(self, captions: list[str]) -> dict[str, Tensor]:
        if not self._read_weights:
            return self._family.encode_prompts(self._pipeline, captions)
        hidden, pooled = embeddings(self._pipeline, captions, clip_skip=0, length=1)
        hidden, pooled = without_empty(self._pipeline, captions, hidden, pooled)
        return {"encoder_hidden_states": hidden} | ({} if pooled is None else {"text_embeds": pooled})
