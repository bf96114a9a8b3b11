"""LoRA: two thin matrices beside each chosen layer learn, everything else stays as it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.methods.parts import (
    ParameterGroup,
    Trainable,
    freeze,
    is_small,
    read_tensors,
    text_encoders,
    text_parameters,
)
from sdstudio.schema import STRICT, Method, UserError, option

ADAPTER = "sdstudio"
WEIGHTS = "pytorch_lora_weights.safetensors"
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
TARGETS: dict[str, list[str]] = {
    "cross-attention": [f"attn2.{name}" for name in _PROJECTIONS],
    "attention": [f"{block}.{name}" for block in ("attn1", "attn2") for name in _PROJECTIONS],
}
TARGETS["attention and feed-forward"] = [*TARGETS["attention"], "ff.net.0.proj", "ff.net.2"]
TARGETS["attention, feed-forward and convolution"] = [
    *TARGETS["attention and feed-forward"],
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"),
]
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """What the added matrices look like and how fast they learn."""

    rank: int = option(16, "Width of the added matrices: more learns more and forgets more.", low=1, high=256)
    alpha: float = option(
        0.0, "The update is scaled by alpha / rank.", low=0.0, high=512.0, zero="the rank", advanced=True
    )
    dropout: float = option(0.0, "Share of the update's inputs dropped in training.", low=0.0, high=0.9, advanced=True)
    targets: str = option(
        "attention and feed-forward", "The layers that get the added matrices.", choices=tuple(TARGETS)
    )
    dora: bool = option(
        False,
        "Learn magnitude and direction of the weights apart (DoRA, Liu et al. 2024, arXiv:2402.09353).",
        advanced=True,
    )
    learning_rate: float = option(
        0.0,
        "The base model's own is 1e-4 for Stable Diffusion, 1.5e-3 for the starter.",
        low=0.0,
        high=1.0,
        zero="the model's own",
    )
    text_encoder: bool = option(False, "Add matrices to the text encoder's attention too.")
    text_encoder_learning_rate: float = option(
        0.0, "Of the text encoder's matrices.", low=0.0, high=1.0, zero="half the U-Net's", when="text_encoder"
    )


@dataclass(frozen=True, kw_only=True)
class Options(Matrices):
    """The options of LoRA."""

    __pydantic_config__ = STRICT
    trigger: str = option("", "The word that calls what is learned.", zero="the first word that all captions share")


def add_lora(model: Any, options: Matrices, layers: list[str]) -> dict[str, Any]:
    """Inject trainable float32 LoRA matrices, B = 0, beside the model's `layers`; returns them by name."""
    from peft import LoraConfig

    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha or options.rank,  # type: ignore[arg-type]  # peft takes fractions too
        lora_dropout=options.dropout,
        target_modules=layers,
        init_lora_weights=True,
        use_dora=options.dora,
    )
    model.add_adapter(config, adapter_name=ADAPTER)
    added = {name: value for name, value in model.named_parameters() if f".{ADAPTER}." in name}
    for value in added.values():
        value.data = value.data.float()
    return added


def prepare(pipeline: Any, options: Matrices) -> Trainable:
    """Freeze U-Net and text encoders and add LoRA: one group of parameters for the one, one for the others."""
    freeze(pipeline)
    rate = options.learning_rate or (1.5e-3 if is_small(pipeline.unet) else 1e-4)
    added = add_lora(pipeline.unet, options, TARGETS[options.targets])
    groups = [ParameterGroup(name="lora", parameters=added, learning_rate=rate)]
    if options.text_encoder:
        text: dict[str, Any] = {}
        layers = {name.removesuffix(".weight") for name in text_parameters(pipeline)}
        for component, encoder in text_encoders(pipeline).items():
            own = [name.removeprefix(f"{component}.") for name in layers if name.startswith(f"{component}.")]
            added = add_lora(encoder, options, sorted(name for name in own if name.endswith(TEXT_TARGETS)))
            text |= {f"{component}.{name}": value for name, value in added.items()}
        text_rate = options.text_encoder_learning_rate or rate / 2
        groups.append(ParameterGroup(name="text_encoder", parameters=text, learning_rate=text_rate))
    return Trainable(groups=groups, trains_text=options.text_encoder)


def save(pipeline: Any, trainable: Trainable, folder: Path) -> None:
    """Write diffusers' LoRA file in float16; `pipeline.load_lora_weights(folder)` of any program reads it."""
    layers: dict[str, Any] = {}
    for component, model in {"unet": pipeline.unet, **text_encoders(pipeline)}.items():
        if ADAPTER in getattr(model, "peft_config", {}):
            layers[f"{component}_lora_layers"] = {name: value.half().cpu() for name, value in matrices(model).items()}
            config = model.peft_config[ADAPTER].to_dict() | {"base_model_name_or_path": None}  # a path of this machine
            layers[f"{component}_lora_adapter_metadata"] = config
    pipeline.save_lora_weights(folder, **layers)


def matrices(model: Any, adapter: str = ADAPTER) -> dict[str, Any]:
    """The model's LoRA weights by the name of their layer: '<layer>.lora_A.weight' (rank, in) and so on."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
    return {name: value.detach() for name, value in state.items()}


def load(pipeline: Any, folder: Path, options: Any, adapter: str = ADAPTER) -> None:
    """Take the LoRA file into U-Net and text encoders, or into the matrices that they have under the name `adapter`.

    Raises UserError when it was made for another kind of model or other matrices.
    """
    from peft import set_peft_model_state_dict

    saved, loaded = read_tensors(folder / WEIGHTS), set()
    try:
        if adapter not in getattr(pipeline.unet, "peft_config", {}):
            pipeline.load_lora_weights(folder, weight_name=WEIGHTS, adapter_name=adapter)
        for component, model in {"unet": pipeline.unet, **text_encoders(pipeline)}.items():
            if adapter in getattr(model, "peft_config", {}):
                own = {name.removeprefix(f"{component}."): value for name, value in saved.items()}
                own = {name: own[name] for name in matrices(model, adapter)}
                set_peft_model_state_dict(model, own, adapter)  # transformers passes over DoRA's magnitudes
                loaded |= {f"{component}.{name}" for name in own}
        fits = saved.keys() == loaded
    except (RuntimeError, ValueError, KeyError):
        fits = False
    if not fits:
        raise UserError(
            f"The LoRA in {folder} does not fit this base model: choose the base model that it was trained on."
        )


RECORD = Method(
    name="lora",
    label="LoRA",
    summary="Adds small trainable matrices to the attention layers; quick, light, hard to break the model with.",
    paper="Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685",
    Options=Options,
    prepare=prepare,
    save=save,
    load=load,
)
