"""Configs of a training run, and what it leaves."""

from dataclasses import dataclass, field
from typing import Any

from sdstudio.validation import STRICT, option


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The settings of the training loop that every method shares."""

    __pydantic_config__ = STRICT
    steps: int = option(600, "Optimizer steps.", low=1, high=1_000_000, unit="steps")
    batch_size: int = option(8, "Pictures per step.", low=1, high=256)
    resolution: int = option(
        0, "Side of the square training picture; 0 takes the base model's own.", low=0, high=2048, step=8, unit="px"
    )
    gradient_accumulation: int = option(
        1, "Batches added up before one optimizer step.", low=1, high=256, advanced=True
    )
    lr_scheduler: str = option(
        "cosine",
        "How the learning rate falls.",
        choices=("constant", "constant_with_warmup", "linear", "cosine"),
        advanced=True,
    )
    warmup_steps: int = option(
        10, "Steps over which the learning rate rises from zero.", low=0, high=100_000, unit="steps", advanced=True
    )
    weight_decay: float = option(0.01, "AdamW's weight decay.", low=0.0, high=1.0, advanced=True)
    max_grad_norm: float = option(1.0, "Gradients are clipped to this norm.", low=0.0, high=1000.0, advanced=True)
    min_snr_gamma: float = option(5.0, "Min-SNR loss weighting; 0 turns it off.", low=0.0, high=100.0, advanced=True)
    caption_dropout: float = option(
        0.1, "Share of captions replaced by the empty prompt.", low=0.0, high=1.0, advanced=True
    )
    mixed_precision: str = option(
        "no", "Number format of the forward pass.", choices=("no", "bf16", "fp16"), advanced=True
    )
    seed: int = option(0, "Seed of everything random in the run.", low=0, high=2**31 - 1)
    checkpoint_every: int = option(
        200, "Steps between checkpoints.", low=1, high=1_000_000, unit="steps", advanced=True
    )
    sample_every: int = option(
        200, "Steps between sample pictures; 0 makes none.", low=0, high=1_000_000, unit="steps", advanced=True
    )
    sample_prompts: list[str] = option(
        [], "Prompts of the sample pictures; empty takes the first captions of the set.", advanced=True
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything a training run needs; `method_options` are the method's own Options as JSON."""

    __pydantic_config__ = STRICT
    name: str = option("", "A name for the run; empty makes one from the method and the dataset.")
    dataset: str = option("", "The dataset to learn from; its present captions are frozen in a snapshot.")
    snapshot: str = option(
        "", "Hash of the snapshot to train on; empty takes one of the dataset as it is now.", advanced=True
    )
    base_model: str = option("starter", "'starter', a diffusers folder, a .safetensors file or a Hub id.")
    method: str = option("lora", "The fine-tuning method.")
    method_options: dict[str, Any] = option({}, "The method's own options.")
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """`checkpoint.json`: with the weights beside it, all that is needed to load what a run learned."""

    __pydantic_config__ = STRICT
    method: str
    method_options: dict[str, Any]
    base_model: str
    base_hash: str
    family: str
    trigger: str
    run: str
    step: int
    snapshot: str = ""
