"""The nouns of the studio: frozen dataclasses that travel as JSON, and the records that plug-ins fill.

Light imports only: pages and the command line read this without loading torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sdstudio.validation import STRICT as STRICT
from sdstudio.validation import UserError as UserError
from sdstudio.validation import check_bounds as check_bounds
from sdstudio.validation import from_json as from_json
from sdstudio.validation import option as option
from sdstudio.validation import to_json as to_json

# ---------------------------------------------------------------- data

CaptionSource = str
"""'file', 'captioner:<name>' or 'person:<name>'; empty while there is no caption."""


@dataclass(frozen=True, kw_only=True)
class CaptionedImage:
    """One picture of a dataset. `id` is the sha256 of the stored file; an `excluded` one is not trained on."""

    id: str
    file_name: str
    width: int
    height: int
    caption: str = ""
    source: CaptionSource = ""
    machine_caption: str = ""
    version: int = 0
    state: Literal["not modified", "modified", "approved"] = "not modified"
    excluded: bool = False
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """An immutable list of (picture, caption) pairs, and the `fit` (see datasets.fit) that makes them square.

    `hash` is the sha256 of its canonical JSON.
    """

    dataset: str
    hash: str
    images: tuple[CaptionedImage, ...]
    fit: str = "centre"


# ---------------------------------------------------------------- jobs

JobKind = Literal["train", "generate", "evaluate", "caption", "try", "import", "push"]
JobState = Literal["queued", "starting", "running", "stopping", "succeeded", "failed", "cancelled", "interrupted"]
ENDED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled", "interrupted")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a job's folder says of it. Times are seconds since the epoch; `done` of `total` in `unit`."""

    id: str
    kind: JobKind
    title: str
    folder: Path
    state: JobState
    created: float
    started: float | None = None
    ended: float | None = None
    done: int = 0
    total: int = 0
    unit: str = ""
    message: str = ""
    error: str = ""


# ---------------------------------------------------------------- configs of jobs


@dataclass(frozen=True, kw_only=True)
class CaptionConfig:
    """Draft captions for a dataset with one captioner; a person's caption is never overwritten."""

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset whose pictures get drafts.")
    captioner: str = option("blip", "The captioner plug-in.")
    options: dict[str, Any] = option({}, "The captioner's own options.")
    only_empty: bool = option(True, "Leave pictures that already have a caption as they are.")


@dataclass(frozen=True, kw_only=True)
class CaptionSetting:
    """One captioner with its options, to be compared with others."""

    __pydantic_config__ = STRICT
    captioner: str = option("blip", "The captioner plug-in.")
    options: dict[str, Any] = option({}, "The captioner's own options.")


@dataclass(frozen=True, kw_only=True)
class TryCaptionsConfig:
    """What several captioners make of a few pictures, side by side; nothing is stored in the dataset."""

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset.")
    ids: list[str] = option([], "The pictures.")
    settings: list[CaptionSetting] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Bring pictures, with the captions that come with them, into a dataset."""

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset to fill; made when it does not exist.")
    folder: str = option(
        "",
        "A folder (with its subfolders), a zip file, a table (.csv, .jsonl, .json, .parquet) or a Hub dataset.",
    )
    source: str = option(
        "detect", "What kind of place that is.", choices=("detect", "folder", "zip", "table", "hub"), advanced=True
    )
    caption_lines: str = option(
        "all",
        "Of a text file with several lines, all joined are the caption, or the first is.",
        choices=("all", "first"),
        advanced=True,
    )
    kohya_folders: bool = option(
        True, "Folders named '10_token class' caption their pictures that have no caption.", advanced=True
    )
    picture_column: str = option("", "The table's column of pictures; empty finds it.", advanced=True)
    caption_column: str = option("", "The table's column of captions; empty finds it.", advanced=True)
    subset: str = option("", "The subset of a Hub dataset that has several.", advanced=True)
    split: str = option("", "One split of a Hub dataset; empty takes all.", advanced=True)


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Send a dataset to the Hugging Face Hub. The token comes from HF_TOKEN or `hf auth login`, never from here."""

    __pydantic_config__ = STRICT
    dataset: str = option("", "The dataset to send.")
    repository: str = option("", "The repository: 'owner/name', the owner a user or an organisation; or just a name.")
    private: bool = option(True, "Only the owner sees it.")
    license: str = option(
        "",
        "What others may do with it; empty says nothing.",
        choices=(
            "",
            "cc0-1.0",
            "cc-by-4.0",
            "cc-by-sa-4.0",
            "cc-by-nc-4.0",
            "cc-by-nc-sa-4.0",
            "apache-2.0",
            "mit",
            "openrail",
            "other",
            "unknown",
        ),
    )
    format: str = option(
        "parquet",
        "Parquet files, which the Hub previews and any number of pictures fits; or each picture as a file.",
        choices=("parquet", "imagefolder"),
        advanced=True,
    )
    replace: bool = option(
        False,
        "Replace what a repository of this name holds, also when it did not come from this dataset.",
        advanced=True,
    )


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


@dataclass(frozen=True, kw_only=True)
class ModelRef:
    """A model to ask: a base model, or a base model with one checkpoint folder on it."""

    __pydantic_config__ = STRICT
    base_model: str = "starter"
    checkpoint: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How pictures are drawn from a model."""

    __pydantic_config__ = STRICT
    negative_prompt: str = option("", "What the picture should not show.")
    steps: int = option(20, "Denoising steps.", low=1, high=500)
    guidance_scale: float = option(
        3.0, "Classifier-free guidance; the starter likes 3, Stable Diffusion 7.5.", low=1.0, high=30.0, step=0.5
    )
    seed: int = option(0, "Seed of the first picture; picture i has seed + i. -1 draws one.", low=-1, high=2**31 - 1)
    width: int = option(0, "Width; 0 takes the model's own.", low=0, high=2048, step=8, unit="px")
    height: int = option(0, "Height; 0 takes the model's own.", low=0, high=2048, step=8, unit="px")
    scheduler: str = option(
        "default",
        "The sampler; 'default' is the model's own.",
        choices=("default", "ddim", "dpm++2m", "euler", "euler a"),
        advanced=True,
    )
    batch_size: int = option(8, "Pictures drawn at once.", low=1, high=64, advanced=True)


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """Pictures for each prompt from each model; the same seeds for every model."""

    __pydantic_config__ = STRICT
    models: list[ModelRef] = field(default_factory=lambda: [ModelRef()])
    prompts: list[str] = option([], "What to draw; one prompt a line.")
    count: int = option(1, "Pictures per prompt.", low=1, high=10_000)
    settings: SampleSettings = field(default_factory=SampleSettings)


@dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One line of `images.jsonl`; the same is inside the PNG. `file` is relative to the job's folder.

    `flags` say what the person did not ask for and got, such as a prompt that was cut.
    """

    file: str
    prompt: str
    negative_prompt: str
    seed: int
    model: ModelRef
    checkpoint_hash: str
    settings: SampleSettings
    width: int
    height: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is compared and how. Rows are ranked together only under one protocol hash."""

    __pydantic_config__ = STRICT
    name: str = option("", "A name for the comparison.")
    models: list[ModelRef] = field(default_factory=list)
    prompts: list[str] = option(
        [], "Prompts in the learned style or of the learned thing; '{trigger}' becomes the trigger words."
    )
    drift_prompts: list[str] = option([], "Prompts without the trigger, to see what else changed.")
    seeds: list[int] = option([0], "One picture per prompt and seed.")
    reference: str = option("", "Dataset of real pictures, not trained on, that the model should match.")
    metrics: list[str] = option(["fid", "kid", "clip_score", "language_drift"], "What to measure.")
    extractor: str = option(
        "starter", "The CLIP model that looks at the pictures: 'starter', a folder or a Hub id.", advanced=True
    )
    settings: SampleSettings = field(default_factory=SampleSettings)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A metric of one model against the base model on the same prompts and seeds.

    `difference` is the mean over prompts of model − base, `interval` its paired t-interval, `ratio` model / base.
    """

    difference: float
    interval: tuple[float, float] | None
    ratio: float | None


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """One cell of a comparison. No `interval` where none is honest; no `value` where it was refused (see flags)."""

    metric: str
    model: str
    value: float | None
    interval: tuple[float, float] | None
    n_generated: int
    n_reference: int
    extractor: str
    preprocessing: str
    flags: tuple[str, ...] = ()
    per_prompt: dict[str, float] = field(default_factory=dict)
    versus_base: Comparison | None = None


# ---------------------------------------------------------------- records that plug-ins fill


@dataclass(frozen=True, kw_only=True)
class Method:
    """A fine-tuning method; one file in `methods/` holds one as RECORD."""

    name: str
    label: str
    summary: str
    paper: str
    Options: type
    prepare: Callable[..., Any]
    save: Callable[..., Any]
    load: Callable[..., Any]
    examples: Callable[..., Any] | None = None
    loss: Callable[..., Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Family:
    """A model family (SD 1.x/2.x, SDXL); one file in `families/`."""

    name: str
    label: str
    detect: Callable[..., bool]
    load: Callable[..., Any]
    encode_prompts: Callable[..., Any]
    unet_inputs: Callable[..., Any]
    pipeline: Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Captioner:
    """Pictures to draft captions; one file in `captioners/`."""

    name: str
    label: str
    summary: str
    paper: str
    Options: type
    load: Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A frozen encoder that metrics share; one file in `features/`."""

    name: str
    label: str
    dimensions: int
    load: Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measurement of generated pictures; one file in `metrics/`."""

    name: str
    label: str
    summary: str
    paper: str
    better: Literal["higher", "lower"]
    needs: tuple[Literal["prompts", "drift_prompts", "reference"], ...]
    compute: Callable[..., MetricResult]
