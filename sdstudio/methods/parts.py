"""What methods are made of: examples, groups of parameters, and the words that call what is learned."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SMALL_MODEL = 100_000_000
"""U-Nets with fewer parameters than this (the starter: 7 million, SD 1.5: 860 million) take higher learning rates."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One picture to learn from. `weight` multiplies its loss; a `prior` picture says what must not be forgotten."""

    path: Path
    caption: str
    weight: float = 1.0
    prior: bool = False


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that share a learning rate; `parameters` are by their name in the U-Net."""

    name: str
    parameters: dict[str, Any]
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """What a method trains; `originals` are the untouched values of base parameters that it changes in place."""

    groups: list[ParameterGroup]
    originals: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, Any]:
        """All of them, by name."""
        return {name: value for group in self.groups for name, value in group.parameters.items()}


def is_small(unet: Any) -> bool:
    """True for models of the starter's kind, whose learning rates differ from Stable Diffusion's."""
    size: int = sum(parameter.numel() for parameter in unet.parameters())
    return size < SMALL_MODEL


def first_word(caption: str) -> str:
    """The caption's first word in lower case; empty when it is an article, which identifies nothing."""
    match = re.match(r"\s*([^\s,.:;]+)", caption)
    word = match.group(1).lower() if match else ""
    return "" if word in {"a", "an", "the"} else word


def begins_with(caption: str, trigger: str) -> bool:
    """True when the caption's first words are the trigger, whatever their case."""
    return re.match(rf"\s*{re.escape(trigger)}(?!\w)", caption, re.IGNORECASE) is not None


def without_trigger(caption: str, trigger: str) -> str:
    """The caption after its trigger and the punctuation behind it."""
    return caption.strip()[len(trigger) :].lstrip(" ,.:;") if begins_with(caption, trigger) else caption


def shared_trigger(captions: list[str], given: str) -> str:
    """The trigger that a person gave, or else the first word that all captions share; empty when they share none."""
    words = {first_word(caption) for caption in captions}
    return given.strip() or (words.pop() if len(words) == 1 else "")
