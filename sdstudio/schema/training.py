"""Configs of a training run, and what it leaves."""

from dataclasses import dataclass, field
from typing import Any

from sdstudio.validation import STRICT, option


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The settings of the training loop that every method shares."""

    __pydantic_config__ = STRICT

    steps: int = option(600, "Optimizer steps.", low=1, high=1_000_000, unit="steps", section="How long")
    epochs: int = option(
        0, "Passes over the pictures, in place of steps.", low=0, high=100_000, zero="counted in steps", advanced=True
    )
    steps_per_instance: int = option(
        0,
        "Optimizer steps for each picture, in place of steps: 500 with 6 pictures are 3000.",
        low=0,
        high=100_000,
        zero="counted in steps",
        advanced=True,
    )
    batch_size: int = option(8, "Pictures per step.", low=1, high=256)
    gradient_accumulation: int = option(
        1, "Batches added up before one optimizer step.", low=1, high=256, advanced=True
    )
    seed: int = option(0, "Seed of everything random in the run.", low=0, high=2**31 - 1)

    resolution: int = option(
        0,
        "Side of the square training picture.",
        low=0,
        high=2048,
        step=8,
        unit="px",
        zero="the model's own",
        section="Pictures",
    )
    fit: str = option(
        "dataset",
        "How a picture becomes that square; 'dataset' takes what the dataset says, 'none' keeps shapes, in buckets of "
        "about the same area.",
        choices=("dataset", "centre", "smart", "face", "white", "blur", "none"),
        advanced=True,
    )
    flip: bool = option(False, "Show every picture mirrored every other pass.", advanced=True)
    crop_jitter: float = option(
        0.0,
        "Share by which a picture is enlarged, so that its crop can move at random.",
        low=0.0,
        high=0.5,
        advanced=True,
    )
    colour_jitter: float = option(
        0.0,
        "Brightness, contrast and saturation change at random by up to this share.",
        low=0.0,
        high=0.9,
        advanced=True,
    )
    rotation: float = option(
        0.0,
        "Pictures turn at random by up to this angle, and grow or shrink by a hundredth for each degree.",
        low=0.0,
        high=45.0,
        unit="degrees",
        advanced=True,
    )
    variants: int = option(
        8,
        "Random versions made of each picture and kept, when crop, colour or angle change.",
        low=0,
        high=1000,
        zero="a new one every time (slower)",
        advanced=True,
    )

    caption_mode: str = option(
        "as written",
        "'identifier prefix' puts the trigger in front of captions that lack it; 'class word' takes the trigger and "
        "the class word as every caption.",
        choices=("as written", "identifier prefix", "class word"),
        advanced=True,
        section="Captions",
    )
    class_word: str = option(
        "", "What the pictures show, such as 'man'.", when="caption_mode=class word", advanced=True
    )
    caption_dropout: float = option(
        0.1, "Share of captions replaced by the empty prompt.", low=0.0, high=1.0, advanced=True
    )
    shuffle_tags: bool = option(False, "Shuffle the comma-separated parts of a caption in every step.", advanced=True)
    keep_tags: int = option(
        1, "Parts at a caption's beginning that stay there.", low=0, high=100, when="shuffle_tags", advanced=True
    )
    weighted_captions: bool = option(
        False,
        "Read (word:1.3), (word) and [word] in captions as in prompts; a bracket that is meant is written \\( or \\).",
        advanced=True,
    )

    optimizer: str = option(
        "adamw",
        "'adamw 8-bit' needs bitsandbytes and a GPU; 'prodigy' needs prodigyopt and finds one rate for all.",
        choices=("adamw", "adamw 8-bit", "prodigy"),
        advanced=True,
        section="Optimizer",
    )
    lr_scheduler: str = option(
        "cosine",
        "How the learning rate falls.",
        choices=("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"),
        advanced=True,
    )
    lr_cycles: int = option(
        1, "Restarts of the cosine.", low=1, high=1000, when="lr_scheduler=cosine_with_restarts", advanced=True
    )
    warmup_steps: int = option(
        10, "Steps over which the learning rate rises from zero.", low=0, high=100_000, unit="steps", advanced=True
    )
    weight_decay: float = option(0.01, "AdamW's weight decay.", low=0.0, high=1.0, advanced=True)
    max_grad_norm: float = option(
        1.0, "Gradients are clipped to this norm.", low=0.0, high=1000.0, zero="not clipped", advanced=True
    )
    ema_decay: float = option(
        0.0,
        "Keep a moving average of the weights, which checkpoints and samples then hold; 0.999 is usual.",
        low=0.0,
        high=0.99999,
        zero="no average",
        advanced=True,
    )

    min_snr_gamma: float = option(
        5.0, "Min-SNR loss weighting.", low=0.0, high=100.0, zero="not weighted", advanced=True, section="Loss"
    )
    noise_offset: float = option(
        0.0,
        "Noise shared by all pixels of a picture, so that very dark and bright ones are learned; 0.05 is usual.",
        low=0.0,
        high=1.0,
        advanced=True,
    )

    validation_share: float = option(
        0.1,
        "Share of the pictures set aside to measure the loss on (at most 100; near-duplicates stay together). None "
        "is with fewer than 20 pictures.",
        low=0.0,
        high=0.5,
        zero="no validation",
        advanced=True,
        section="Validation",
    )
    validate_every: int = option(
        50,
        "Between measurements of the validation loss.",
        low=1,
        high=1_000_000,
        when="validation_share",
        advanced=True,
    )
    early_stop: int = option(
        0,
        "Stop after so many measurements in a row without a better validation loss.",
        low=0,
        high=1000,
        zero="never",
        when="validation_share",
        advanced=True,
    )

    interval_unit: str = option(
        "steps",
        "What the numbers of checkpoints, samples and measurements count.",
        choices=("steps", "epochs"),
        advanced=True,
        section="What is kept",
    )
    checkpoint_every: int = option(
        200, "Between checkpoints.", low=0, high=1_000_000, zero="only at the end", advanced=True
    )
    checkpoint_at: list[int] = option(
        [], "Where to save besides, such as 5, 30, 60; these checkpoints are never removed.", advanced=True
    )
    keep_last: int = option(
        0,
        "Keep so many of the newest checkpoints, and the one with the best validation loss; remove the others.",
        low=0,
        high=1000,
        zero="all are kept",
        advanced=True,
    )
    keep_state: int = option(
        0,
        "Of the checkpoints that are kept, so many of the newest can be gone on from, to the bit. That takes three to "
        "six times the room of what was learned; the others can still be used and begun from.",
        low=0,
        high=1000,
        zero="every one",
        advanced=True,
    )
    sample_every: int = option(
        200, "Between sample pictures.", low=0, high=1_000_000, zero="none are drawn", advanced=True
    )
    sample_at: list[int] = option([], "Where to draw sample pictures besides.", advanced=True)
    sample_prompts: list[str] = option(
        [], "Prompts of the sample pictures; empty takes the first captions of the set.", advanced=True
    )

    mixed_precision: str = option(
        "no",
        "Number format of the forward pass.",
        choices=("no", "bf16", "fp16"),
        advanced=True,
        section="Speed and memory",
    )
    gradient_checkpointing: bool = option(
        False, "Compute parts of the forward pass twice: less memory, slower.", advanced=True
    )
    compile: bool = option(
        False, "Let torch compile the U-Net: slow to begin, faster on GPUs in long runs.", advanced=True
    )


@dataclass(frozen=True, kw_only=True)
class ExtraDataset:
    """A further dataset of a run. Each pass shows its pictures `repeats` times.

    As `regularisation` its pictures are what must not be forgotten (DreamBooth's prior), with `weight` in the loss.
    """

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset.")
    repeats: int = option(1, "How often each of its pictures comes in one pass.", low=1, high=1000)
    regularisation: bool = option(False, "Its pictures are not to be learned but not to be forgotten.")
    weight: float = option(1.0, "Weight of its pictures in the loss.", low=0.0, high=100.0)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything a training run needs; `method_options` are the method's own Options as JSON."""

    __pydantic_config__ = STRICT
    name: str = option("", "A name for the run; empty makes one from the method and the dataset.")
    dataset: str = option("", "The dataset to learn from; its present captions are frozen in a snapshot.")
    snapshot: str = option(
        "", "Hash of the snapshot to train on; empty takes one of the dataset as it is now.", advanced=True
    )
    repeats: int = option(
        1,
        "How often each picture comes in one pass, when further datasets are mixed in.",
        low=1,
        high=1000,
        advanced=True,
    )
    mix: list[ExtraDataset] = option([], "Further datasets.", advanced=True)
    base_model: str = option("starter", "'starter', a diffusers folder, a .safetensors file or a Hub id.")
    init_checkpoint: str = option(
        "", "A run or checkpoint of the same method to begin from; empty begins from the base model.", advanced=True
    )
    method: str = option("lora", "The fine-tuning method.")
    method_options: dict[str, Any] = option({}, "The method's own options.")
    loop: LoopConfig = field(default_factory=LoopConfig)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What a run learned, as a file or folder that other programs read."""

    __pydantic_config__ = STRICT
    checkpoint: str = option("", "A checkpoint folder, or a run's id for its newest.")
    format: str = option("diffusers", "The form; see `sdstudio export --help`.")
    metadata: bool = option(True, "Write settings and trigger words into the file, where its form has room for them.")


@dataclass(frozen=True, kw_only=True)
class PublishConfig:
    """What a run learned, sent to the Hugging Face Hub with a card that says how it was made and how good it is."""

    __pydantic_config__ = STRICT
    checkpoint: str = option("", "A checkpoint folder, or a run's id for its newest.")
    format: str = option("diffusers", "The form; see `sdstudio export --help`.")
    repository: str = option("", "The model's name on the Hub, such as owner/name.")
    private: bool = option(True, "Only its owner sees it.")
    license: str = option("", "The license that the card names, such as openrail.")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """`checkpoint.json`: with the weights beside it, all that is needed to load what a run learned.

    `negative_parts` are what negative examples taught, such as 'eyes': prompts then ask for 'no negative eyes'.
    """

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
    negative_parts: list[str] = field(default_factory=list)
