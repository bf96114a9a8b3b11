"""SAM: DreamBooth with LoRA on the cross-attention, unfrozen last layers, detailed captions and negative examples.

Its three improvements on DreamBooth can be switched off one by one: LoRA (rank 0), unfrozen layers with detailed
captions (`unfreeze`, `detailed_captions`), and negative examples (an empty `negative_examples`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.methods import dreambooth, lora
from sdstudio.methods.deltas import DELTA, load_delta, originals, save_delta
from sdstudio.methods.negatives import negative_examples
from sdstudio.methods.parts import (
    Example,
    Facts,
    ParameterGroup,
    Sources,
    Trainable,
    begins_with,
    check_single_token,
    freeze,
    is_small,
    unfreeze,
)
from sdstudio.methods.prior import Subject, check_prior, own_examples, prior_examples
from sdstudio.schema import STRICT, Method, UserError, option


@dataclass(frozen=True, kw_only=True)
class Options(Subject):
    """The options of SAM."""

    __pydantic_config__ = STRICT
    rank: int = option(16, "Width of the LoRA matrices in the cross-attention.", low=0, high=256, zero="no LoRA")
    learning_rate: float = option(
        0.0,
        "Of LoRA; the base model's own is 1e-4 for Stable Diffusion, 2e-3 for the starter.",
        low=0.0,
        high=1.0,
        zero="the model's own",
        when="rank",
    )
    unfreeze: bool = option(True, "Train the U-Net's last layers too.")
    layers: list[str] = option(
        [],
        "Module paths in the U-Net to unfreeze; empty takes its last up block, conv_norm_out and conv_out.",
        when="unfreeze",
        advanced=True,
    )
    layers_learning_rate: float = option(
        0.0,
        "Of the unfrozen layers; the base model's own is 1e-5 for Stable Diffusion, 7e-4 for the starter.",
        low=0.0,
        high=1.0,
        zero="the model's own",
        when="unfreeze",
    )
    negative_examples: str = option(
        "", "A dataset or folder of pictures that went wrong, each with the prompt that drew it; empty leaves it out."
    )
    negative_part: str = option(
        "eyes",
        "What is wrong with those whose caption does not say 'negative <part>' itself.",
        when="negative_examples",
    )


def examples(captioned: list[Example], options: Options, sources: Sources) -> list[Example]:
    """The captioned pictures, the negative examples and the class prior.

    Raises UserError naming how many captions do not begin with the identifier.
    """
    captions = [example.caption for example in captioned]
    identifier = dreambooth.trigger(captions, options)
    _check_beginnings(captions, identifier, options)
    own = own_examples(captioned, identifier, options)
    bad = sources.pictures(options.negative_examples) if options.negative_examples else []
    negative = negative_examples(bad, options.negative_part)
    return own + negative + prior_examples(captions, identifier, options, sources)


def _check_beginnings(captions: list[str], identifier: str, options: Options) -> None:
    others = sum(not begins_with(caption, identifier) for caption in captions) if identifier else len(captions)
    if others and (options.detailed_captions or not identifier):
        raise UserError(
            f"{others} of {len(captions)} captions do not begin with "
            + (f"the identifier {identifier!r}" if identifier else "an identifier word")
            + ": put it in front of them (Annotate), or name another one."
        )


def check(options: Options, facts: Facts) -> None:
    """Refuse captions that do not begin with the identifier or say nothing else, and what is not there."""
    identifier = dreambooth.trigger(facts.captions, options)
    _check_beginnings(facts.captions, identifier, options)
    check_single_token(identifier, facts.tokens)
    if not (options.rank or options.unfreeze):
        raise UserError(NOTHING)
    unknown = [
        layer
        for layer in (options.layers if options.unfreeze and facts.layers else [])
        if not any(name.startswith(f"{layer}.") for name in facts.layers)
    ]
    if unknown:
        raise UserError(f"The U-Net has no module {unknown[0]!r}: name one such as up_blocks.1 or conv_out.")
    if options.negative_examples:
        negative_examples(facts.pictures(options.negative_examples), options.negative_part)
    check_prior(options, facts)


NOTHING = "SAM has nothing to train: give LoRA a rank, or unfreeze layers."


def prepare(pipeline: Any, options: Options) -> Trainable:
    """Add LoRA to the cross-attention and unfreeze the last layers: two groups, each with its own learning rate."""
    unet = pipeline.unet
    small = is_small(unet)
    freeze(pipeline)
    layers = _unfrozen(unet, options.layers or default_layers(unet)) if options.unfreeze else {}
    groups = []
    if options.rank:
        added = lora.add_lora(unet, lora.Matrices(rank=options.rank), lora.TARGETS["cross-attention"])
        rate = options.learning_rate or (2e-3 if small else 1e-4)
        groups.append(ParameterGroup(name="lora", parameters=added, learning_rate=rate))
    if layers:
        unfreeze(layers)  # after LoRA, for adding that freezes all but itself
        rate = options.layers_learning_rate or (7e-4 if small else 1e-5)
        groups.append(ParameterGroup(name="layers", parameters=layers, learning_rate=rate))
    if not groups:
        raise UserError(NOTHING)
    return Trainable(groups=groups, originals=originals(layers))


def default_layers(unet: Any) -> list[str]:
    """The last up block (of a small U-Net only its last resnet), the last normalisation and the last convolution."""
    last = len(unet.up_blocks) - 1
    block = f"up_blocks.{last}"
    if is_small(unet):
        block += f".resnets.{len(unet.up_blocks[last].resnets) - 1}"
    return [block, "conv_norm_out", "conv_out"]


def _unfrozen(unet: Any, layers: list[str]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for layer in layers:
        try:
            module = unet.get_submodule(layer)
        except AttributeError as error:
            raise UserError(
                f"The U-Net has no module {layer!r}: name one such as {', '.join(default_layers(unet))}."
            ) from error
        parameters |= {f"{layer}.{name}": value for name, value in module.named_parameters()}
    return parameters


def save(pipeline: Any, trainable: Trainable, folder: Path) -> None:
    """Write the LoRA file, and what training added to the unfrozen layers, both in float16."""
    if trainable.originals:
        save_delta(trainable, folder)
    if len(trainable.parameters) > len(trainable.originals):
        lora.save(pipeline, trainable, folder)


def load(pipeline: Any, folder: Path, options: Any) -> None:
    """Add the saved change to the U-Net's layers and take the LoRA file in."""
    if (folder / DELTA).is_file():
        load_delta(pipeline, folder)
    if (folder / lora.WEIGHTS).is_file():
        lora.load(pipeline, folder, options)


RECORD = Method(
    name="sam",
    label="SAM",
    summary="DreamBooth with LoRA, unfrozen last layers, detailed captions behind an identifier, negative examples.",
    paper="Lin, Mo, Yang and Qu 2023, SAM: Simpson's Artistic Memory",
    Options=Options,
    prepare=prepare,
    save=save,
    load=load,
    trigger=dreambooth.trigger,
    check=check,
    examples=examples,
)
