"""SAM: LoRA on the cross-attention, unfrozen last layers, detailed captions behind an identifier, and a class prior.

Negative examples, the fourth improvement of the method, are not in yet: `examples` is where they will join.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.methods import lora
from sdstudio.methods.parts import (
    Example,
    ParameterGroup,
    Trainable,
    begins_with,
    first_word,
    is_small,
    without_trigger,
)
from sdstudio.schema import STRICT, Method, UserError, option

DELTA = "delta.safetensors"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of SAM."""

    __pydantic_config__ = STRICT
    trigger: str = option(
        "", "Identifier that every caption must begin with; empty takes the captions' commonest first word."
    )
    rank: int = option(16, "Width of the LoRA matrices in the cross-attention; 0 leaves LoRA out.", low=0, high=256)
    learning_rate: float = option(
        0.0,
        "Of LoRA; 0 takes the base model's own: 1e-4 for Stable Diffusion, 2e-3 for the starter.",
        low=0.0,
        high=1.0,
    )
    unfreeze: bool = option(True, "Train the U-Net's last layers too.")
    layers: list[str] = option(
        [],
        "Module paths in the U-Net to unfreeze; empty takes its last up block, conv_norm_out and conv_out.",
        advanced=True,
    )
    layers_learning_rate: float = option(
        0.0, "Of the unfrozen layers; 0 takes 1e-5 for Stable Diffusion, 7e-4 for the starter.", low=0.0, high=1.0
    )
    prior_images: int = option(
        32,
        "Pictures that the base model draws first, to be kept in mind; 0 leaves the class prior out.",
        low=0,
        high=10_000,
    )
    prior_weight: float = option(1.0, "Weight of the class prior in the loss.", low=0.0, high=100.0, advanced=True)
    prior_prompts: list[str] = option(
        [], "What the prior pictures show; empty takes the captions without the identifier.", advanced=True
    )


def examples(
    captioned: list[Example], options: Options, draw: Callable[[list[str], list[int]], list[Path]]
) -> list[Example]:
    """Check the identifier and add the class prior.

    `draw(prompts, seeds)` gives pictures of the untouched base model. Raises UserError naming how many captions do
    not begin with the identifier.
    """
    captions = [example.caption for example in captioned]
    trigger = options.trigger.strip() or _commonest(captions)
    others = sum(not begins_with(caption, trigger) for caption in captions) if trigger else len(captions)
    if others:
        raise UserError(
            f"{others} of {len(captions)} captions do not begin with "
            + (f"the identifier {trigger!r}" if trigger else "an identifier word")
            + ": put it in front of them (Annotate), or name another one."
        )
    prompts = options.prior_prompts or [without_trigger(caption, trigger) for caption in captions]
    seeds = list(range(options.prior_images))
    prompts = [prompts[seed % len(prompts)] for seed in seeds]
    prior = [
        Example(path=path, caption=prompt, weight=options.prior_weight, prior=True)
        for path, prompt in zip(draw(prompts, seeds), prompts, strict=True)
    ]
    return captioned + prior


def _commonest(captions: list[str]) -> str:
    words = [first_word(caption) for caption in captions]
    return max(words, key=words.count, default="")


def prepare(pipeline: Any, options: Options) -> Trainable:
    """Add LoRA to the cross-attention and unfreeze the last layers: two groups, each with its own learning rate."""
    unet = pipeline.unet
    small = is_small(unet)
    unet.requires_grad_(False)
    layers = _unfrozen(unet, options.layers or default_layers(unet)) if options.unfreeze else {}
    groups = []
    if options.rank:
        added = lora.add_lora(unet, options.rank, 0.0, 0.0, "cross-attention")
        rate = options.learning_rate or (2e-3 if small else 1e-4)
        groups.append(ParameterGroup(name="lora", parameters=added, learning_rate=rate))
    if layers:
        for value in layers.values():
            value.data = value.data.float()
            value.requires_grad_(True)  # again: adding LoRA froze all but itself
        rate = options.layers_learning_rate or (7e-4 if small else 1e-5)
        groups.append(ParameterGroup(name="layers", parameters=layers, learning_rate=rate))
    if not groups:
        raise UserError("SAM has nothing to train: give LoRA a rank, or unfreeze layers.")
    return Trainable(groups=groups, originals={name: value.detach().clone() for name, value in layers.items()})


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
    from safetensors.torch import save_file

    parameters = trainable.parameters
    if trainable.originals:
        delta = {
            name: (parameters[name].detach() - original).half().cpu() for name, original in trainable.originals.items()
        }
        save_file(delta, folder / DELTA)
    if len(parameters) > len(trainable.originals):
        lora.save(pipeline, trainable, folder)


def load(pipeline: Any, folder: Path, options: Options) -> None:
    """Add the saved change to the U-Net's layers and take the LoRA file in."""
    from safetensors.torch import load_file

    if (folder / DELTA).is_file():
        parameters = dict(pipeline.unet.named_parameters())
        delta = load_file(folder / DELTA)
        if any(name not in parameters or parameters[name].shape != value.shape for name, value in delta.items()):
            raise UserError(
                f"The layers in {folder} do not fit this base model: choose the one that they were trained on."
            )
        for name, value in delta.items():
            target = parameters[name].data
            target.copy_(target.float() + value.to(target.device).float())
    if (folder / lora.WEIGHTS).is_file():
        lora.load(pipeline, folder, options)


RECORD = Method(
    name="sam",
    label="SAM",
    summary="LoRA on the cross-attention, the last layers unfrozen, captions behind an identifier, a class prior.",
    paper="Lin, Mo, Yang and Qu 2023, SAM: Simpson's Artistic Memory",
    Options=Options,
    prepare=prepare,
    save=save,
    load=load,
    examples=examples,
)
