"""LoRA: two thin matrices beside each attention projection learn, everything else stays as it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.methods.parts import ParameterGroup, Trainable, is_small
from sdstudio.schema import STRICT, Method, UserError, option

ADAPTER = "sdstudio"
WEIGHTS = "pytorch_lora_weights.safetensors"
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
TARGETS: dict[str, list[str]] = {
    "cross-attention": [f"attn2.{name}" for name in _PROJECTIONS],
    "attention": [f"{block}.{name}" for block in ("attn1", "attn2") for name in _PROJECTIONS],
}
TARGETS["attention and feed-forward"] = [*TARGETS["attention"], "ff.net.0.proj", "ff.net.2"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of LoRA."""

    __pydantic_config__ = STRICT
    trigger: str = option(
        "", "The word that calls what is learned; empty takes the first word that all captions share."
    )
    rank: int = option(16, "Width of the added matrices: more learns more and forgets more.", low=1, high=256)
    alpha: float = option(
        0.0, "The update is scaled by alpha / rank; 0 takes the rank.", low=0.0, high=512.0, advanced=True
    )
    dropout: float = option(0.0, "Share of the update's inputs dropped in training.", low=0.0, high=0.9, advanced=True)
    targets: str = option(
        "attention and feed-forward", "The layers that get the added matrices.", choices=tuple(TARGETS)
    )
    learning_rate: float = option(
        0.0, "0 takes the base model's own: 1e-4 for Stable Diffusion, 1.5e-3 for the starter.", low=0.0, high=1.0
    )


def add_lora(unet: Any, rank: int, alpha: float, dropout: float, targets: str) -> dict[str, Any]:
    """Inject trainable float32 LoRA matrices, B = 0, into the U-Net's `targets`; returns them by name."""
    from peft import LoraConfig

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha or rank,  # type: ignore[arg-type]  # peft takes fractions too
        lora_dropout=dropout,
        target_modules=TARGETS[targets],
        init_lora_weights=True,
    )
    unet.add_adapter(config, adapter_name=ADAPTER)
    added = {name: value for name, value in unet.named_parameters() if f".{ADAPTER}." in name}
    for value in added.values():
        value.data = value.data.float()
    return added


def prepare(pipeline: Any, options: Options) -> Trainable:
    """Freeze the U-Net and add LoRA to it: one group of parameters."""
    rate = options.learning_rate or (1.5e-3 if is_small(pipeline.unet) else 1e-4)
    pipeline.unet.requires_grad_(False)
    added = add_lora(pipeline.unet, options.rank, options.alpha, options.dropout, options.targets)
    return Trainable(groups=[ParameterGroup(name="lora", parameters=added, learning_rate=rate)])


def save(pipeline: Any, trainable: Trainable, folder: Path) -> None:
    """Write diffusers' LoRA file in float16; `pipeline.load_lora_weights(folder)` of any program reads it."""
    from peft import get_peft_model_state_dict

    unet = pipeline.unet
    weights = get_peft_model_state_dict(unet, adapter_name=ADAPTER)
    pipeline.save_lora_weights(
        folder,
        unet_lora_layers={name: value.detach().half().cpu() for name, value in weights.items()},
        unet_lora_adapter_metadata=unet.peft_config[ADAPTER].to_dict(),
    )


def load(pipeline: Any, folder: Path, options: Any) -> None:
    """Take the LoRA file into the pipeline's U-Net; a UserError when it was made for another kind of U-Net."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    try:
        pipeline.load_lora_weights(folder, weight_name=WEIGHTS, adapter_name=ADAPTER)
        loaded = get_peft_model_state_dict(pipeline.unet, adapter_name=ADAPTER).keys()
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            fits = {name.removeprefix("unet.") for name in file.keys()} == set(loaded)  # noqa: SIM118
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
