"""What methods are made of: examples, groups of parameters, and the words that call what is learned."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdstudio.schema import UserError

SMALL_MODEL = 100_000_000
"""U-Nets with fewer parameters than this (the starter: 7 million, SD 1.5: 860 million) take higher learning rates."""


TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
"""A pipeline's text encoders; Stable Diffusion XL has the second."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One picture to learn from. `weight` multiplies its loss; a `prior` picture says what must not be forgotten.

    `negative` names the part that is wrong with it, such as 'eyes'; its caption says so too.
    """

    path: Path
    caption: str
    weight: float = 1.0
    prior: bool = False
    negative: str = ""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a method gets pictures from beside its dataset.

    `draw(prompts, seeds)` gives pictures of the untouched base model, `pictures(place)` (file, caption) of those of a
    dataset or folder, or a UserError.
    """

    draw: Callable[[list[str], list[int]], list[Path]]
    pictures: Callable[[str], list[tuple[Path, str]]]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a method may look at before its job starts, without loading a model.

    `captions` are those to train on, `tokens` cuts a text as the base model's tokenizer does, `layers` are the names
    of the U-Net's parameters; both are None or empty where the base model is not on this machine yet.
    """

    captions: list[str]
    tokens: Callable[[str], list[str]] | None
    layers: frozenset[str]
    pictures: Callable[[str], list[tuple[Path, str]]]


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that share a learning rate, by their name in `named_parameters`."""

    name: str
    parameters: dict[str, Any]
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Trainable:
    """What a method trains; `originals` are the untouched values of base parameters that it changes in place.

    Where it `trains_text`, text embeddings change from step to step and captions must be encoded in each.
    """

    groups: list[ParameterGroup]
    originals: Mapping[str, Any] = field(default_factory=dict)
    trains_text: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """All of them, by name."""
        return {name: value for group in self.groups for name, value in group.parameters.items()}


def text_encoders(pipeline: Any) -> dict[str, Any]:
    """The pipeline's text encoders by the name of their component."""
    return {name: getattr(pipeline, name) for name in TEXT_ENCODERS if getattr(pipeline, name, None) is not None}


def named_parameters(pipeline: Any) -> dict[str, Any]:
    """The U-Net's parameters by their own names, the text encoders' behind 'text_encoder.' or 'text_encoder_2.'.

    A layer that has got LoRA beside it keeps its name.
    """
    named = dict(pipeline.unet.named_parameters())
    for component, encoder in text_encoders(pipeline).items():
        named |= {f"{component}.{name}": value for name, value in encoder.named_parameters()}
    return {name.replace(".base_layer.", "."): value for name, value in named.items()}


def text_parameters(pipeline: Any) -> dict[str, Any]:
    """Those of the text encoders' parameters that pictures depend on, named as in `named_parameters`.

    Of Stable Diffusion XL's first text encoder the U-Net sees the state before the last layer, never what follows.
    """
    named: dict[str, Any] = {}
    for component, encoder in text_encoders(pipeline).items():
        skipped = ["final_layer_norm.", f"encoder.layers.{encoder.config.num_hidden_layers - 1}."]
        unseen = skipped if component == "text_encoder" and len(text_encoders(pipeline)) == 2 else []
        named |= {
            f"{component}.{name}": value
            for name, value in encoder.named_parameters()
            if not any(part in f".{name}" for part in (f".{item}" for item in unseen))
        }
    return named


def freeze(pipeline: Any) -> None:
    """Let nothing of U-Net and text encoders learn."""
    for parameter in named_parameters(pipeline).values():
        parameter.requires_grad_(False)


def unfreeze(parameters: dict[str, Any]) -> dict[str, Any]:
    """Let these parameters learn, in float32; returns them."""
    for value in parameters.values():
        value.data = value.data.float()
        value.requires_grad_(True)
    return parameters


def read_tensors(file: Path) -> dict[str, Any]:
    """The tensors of a .safetensors file; a UserError when it is missing, damaged or something else under that name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file.name} is not a whole .safetensors file ({error}): get the file again.") from error


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


def named_trigger(captions: list[str], options: Any) -> str:
    """The trigger of a method that has no rule of its own."""
    return shared_trigger(captions, options.trigger)


def identifier_of(captions: list[str], given: str) -> str:
    """The identifier that a person gave, or else the commonest first word of the captions; empty when there is none."""
    words = [word for word in map(first_word, captions) if word]
    return given.strip() or next((word for word, _ in Counter(words).most_common(1)), "")


def check_single_token(identifier: str, tokens: Callable[[str], list[str]] | None) -> None:
    """A UserError naming the pieces when the model's tokenizer cuts the identifier; nothing without a tokenizer."""
    pieces = tokens(identifier) if tokens else [identifier]
    if len(pieces) != 1:
        raise UserError(
            f"The identifier {identifier!r} is {len(pieces)} tokens to this model ({', '.join(pieces)}), which bring "
            "their own meanings: take a word of one token, such as those that `sdstudio identifiers` lists."
        )
