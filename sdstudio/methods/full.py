"""Full fine-tuning: every weight of the U-Net learns, and those of the text encoder where it is asked to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.methods.deltas import load_delta, originals, save_delta
from sdstudio.methods.parts import ParameterGroup, Trainable, freeze, is_small, text_parameters, unfreeze
from sdstudio.schema import STRICT, Method, option


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How the whole weights are trained."""

    learning_rate: float = option(
        0.0,
        "The base model's own is 5e-6 for Stable Diffusion, 3e-4 for the starter.",
        low=0.0,
        high=1.0,
        zero="the model's own",
    )
    text_encoder: bool = option(False, "Train the text encoder too: learns more from few pictures, forgets more.")
    text_encoder_learning_rate: float = option(
        0.0, "Of the text encoder.", low=0.0, high=1.0, zero="half the U-Net's", when="text_encoder"
    )


@dataclass(frozen=True, kw_only=True)
class Options(Weights):
    """The options of full fine-tuning."""

    __pydantic_config__ = STRICT
    trigger: str = option("", "The word that calls what is learned.", zero="the first word that all captions share")


def prepare(pipeline: Any, options: Weights, large: float = 5e-6, small: float = 3e-4) -> Trainable:
    """Unfreeze the whole U-Net and, where asked, the text encoders: a group each.

    Where no learning rate is given it is `large` for Stable Diffusion and `small` for models of the starter's size.
    """
    freeze(pipeline)
    rate = options.learning_rate or (small if is_small(pipeline.unet) else large)
    unet = unfreeze(dict(pipeline.unet.named_parameters()))
    groups = [ParameterGroup(name="unet", parameters=unet, learning_rate=rate)]
    if options.text_encoder:
        text = unfreeze(text_parameters(pipeline))
        text_rate = options.text_encoder_learning_rate or rate / 2
        groups.append(ParameterGroup(name="text_encoder", parameters=text, learning_rate=text_rate))
    parameters = {name: value for group in groups for name, value in group.parameters.items()}
    return Trainable(groups=groups, originals=originals(parameters), trains_text=options.text_encoder)


def save(pipeline: Any, trainable: Trainable, folder: Path) -> None:
    """Write what training added to every weight."""
    save_delta(trainable, folder)


def load(pipeline: Any, folder: Path, options: Any) -> None:
    """Add what training added."""
    load_delta(pipeline, folder)


RECORD = Method(
    name="full",
    label="Full fine-tuning",
    summary="Trains every weight of the U-Net; learns most, forgets most, and its checkpoints are large.",
    paper="Rombach et al. 2021, High-Resolution Image Synthesis with Latent Diffusion Models, arXiv:2112.10752",
    Options=Options,
    prepare=prepare,
    save=save,
    load=load,
)
