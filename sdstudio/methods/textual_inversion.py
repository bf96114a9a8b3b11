"""Textual inversion: a new word whose vectors learn; the model itself stays as it is."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdstudio.methods.parts import (
    Example,
    Facts,
    ParameterGroup,
    Sources,
    Trainable,
    freeze,
    is_small,
    read_tensors,
    shared_trigger,
    text_encoders,
)
from sdstudio.schema import STRICT, Method, UserError, option

FILES = {"text_encoder": "learned_embeds.safetensors", "text_encoder_2": "learned_embeds_2.safetensors"}
"""One file for each text encoder, {word: (vectors, width)}; `load_textual_inversion` of diffusers reads them."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of textual inversion."""

    __pydantic_config__ = STRICT
    trigger: str = option(
        "", "The new word, one that the model does not know.", zero="<word>, of the captions' shared first word"
    )
    initial_word: str = option("style", "The word whose meaning the new one starts from, such as 'style' or 'dog'.")
    vectors: int = option(
        4, "Vectors of the new word: more hold more detail and take more of the prompt's room.", low=1, high=32
    )
    learning_rate: float = option(
        0.0,
        "The base model's own is 1e-3 for Stable Diffusion, 2e-3 for the starter.",
        low=0.0,
        high=1.0,
        zero="the model's own",
    )


def trigger(captions: list[str], options: Options) -> str:
    """The new word in lower case, as tokenizers of CLIP see it; empty when none is given and none can be made."""
    word = shared_trigger(captions, "")
    return options.trigger.strip().lower() or (f"<{word}>" if word else "")


def check(options: Options, facts: Facts) -> None:
    """Refuse a word that is missing, that has spaces, or that the model knows already, and a start from nothing."""
    word = trigger(facts.captions, options)
    if not word or len(word.split()) != 1:
        raise UserError(f"The new word is {word!r}: name one word without spaces, such as <asim>.")
    if facts.tokens and len(facts.tokens(word)) == 1:
        raise UserError(f"The model knows {word!r} already: name a word that is new to it, such as <{word}>.")
    if not options.initial_word.strip():
        raise UserError("The new word starts from no meaning: name an initial word, such as 'style'.")


def examples(captioned: list[Example], options: Options, sources: Sources) -> list[Example]:
    """The captions with the new word in the place of their shared first word, or in front of those that lack it."""
    captions = [example.caption for example in captioned]
    word, shared = trigger(captions, options), shared_trigger(captions, "")

    def taught(caption: str) -> str:
        if word in caption.lower():
            return caption
        if word == f"<{shared}>":
            return word + caption.strip()[len(shared) :]
        return f"{word} {caption}"

    return [replace(example, caption=taught(example.caption)) for example in captioned]


def prepare(pipeline: Any, options: Options) -> Trainable:
    """Freeze everything and add the new word to each tokenizer and text encoder: one group of its vectors."""
    freeze(pipeline)
    rate = options.learning_rate or (2e-3 if is_small(pipeline.unet) else 1e-3)
    learned = {
        f"{component}.learned": _add_word(tokenizer_of(pipeline, component), encoder, options)
        for component, encoder in text_encoders(pipeline).items()
    }
    group = ParameterGroup(name="vectors", parameters=learned, learning_rate=rate)
    return Trainable(groups=[group], trains_text=True)


def tokenizer_of(pipeline: Any, component: str) -> Any:
    """The tokenizer of a text encoder."""
    return getattr(pipeline, component.replace("text_encoder", "tokenizer"))


def _add_word(tokenizer: Any, encoder: Any, options: Options) -> Any:
    """The new word's vectors (vectors, width), each starting at the mean of the initial word's tokens.

    They are a parameter of their own, so that no other row of the embedding can move.
    """
    import torch

    ids = tokenizer(options.initial_word, add_special_tokens=False).input_ids
    start = encoder.get_input_embeddings().weight[ids].detach().float().mean(dim=0)
    word = options.trigger
    names = [word, *(f"{word}_{number}" for number in range(1, options.vectors))]
    if not word or len(tokenizer.tokenize(word)) < 2:
        raise UserError(f"The model knows the word {word!r} already: name one that is new to it, such as <asim>.")
    tokenizer.add_tokens(names)
    first = tokenizer.convert_tokens_to_ids(word)
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    embedding = encoder.get_input_embeddings()
    embedding.weight.requires_grad_(False)
    embedding.learned = torch.nn.Parameter(start.repeat(options.vectors, 1))

    def take_learned(module: Any, arguments: tuple[Any, ...], output: Any) -> Any:
        ids = arguments[0]
        new = module.learned[(ids - first).clamp(min=0)].to(output.dtype)
        return torch.where((ids >= first)[..., None], new, output)

    embedding.register_forward_hook(take_learned)
    return embedding.learned


def save(pipeline: Any, trainable: Trainable, folder: Path) -> None:
    """Write the vectors under their word: diffusers' embedding file for each text encoder."""
    from safetensors.torch import save_file

    for component, encoder in text_encoders(pipeline).items():
        learned = encoder.get_input_embeddings().learned.detach()
        tokenizer = tokenizer_of(pipeline, component)
        word = tokenizer.convert_ids_to_tokens(len(tokenizer) - len(learned))
        save_file({word: learned.float().cpu().clone()}, folder / FILES[component])


def load(pipeline: Any, folder: Path, options: Any) -> None:
    """Teach tokenizers and text encoders the word, or give its vectors to the one that `prepare` has added.

    Raises UserError when they are another model's, or more or fewer.
    """
    encoders = text_encoders(pipeline)
    fits = {component for component, file in FILES.items() if (folder / file).is_file()} == encoders.keys()
    try:
        for component, encoder in encoders.items() if fits else ():
            words = read_tensors(folder / FILES[component])
            learned = getattr(encoder.get_input_embeddings(), "learned", None)
            if learned is None:
                tokenizer = tokenizer_of(pipeline, component)
                pipeline.load_textual_inversion(words, tokenizer=tokenizer, text_encoder=encoder)
            else:
                (vectors,) = words.values()
                fits = fits and vectors.shape == learned.shape
                learned.data.copy_(vectors)
    except (ValueError, RuntimeError):
        fits = False
    if not fits:
        raise UserError(
            f"The word in {folder} does not fit this base model: choose the base model that it was trained on."
        )


RECORD = Method(
    name="textual_inversion",
    label="Textual inversion",
    summary="Learns vectors for a new word and nothing else: a file of kilobytes, the least detail.",
    paper="Gal et al. 2022, An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual "
    "Inversion, arXiv:2208.01618",
    Options=Options,
    prepare=prepare,
    save=save,
    load=load,
    trigger=trigger,
    check=check,
    examples=examples,
)
