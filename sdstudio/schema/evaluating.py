"""What is compared, how, and the result."""

from dataclasses import dataclass, field

from sdstudio.schema.generating import ModelRef, SampleSettings
from sdstudio.validation import STRICT, option


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
    reference_snapshot: str = option(
        "", "Hash of the reference's snapshot; empty takes the pictures that it has now.", advanced=True
    )
    reference_part: str = option(
        "all",
        "'not trained on' leaves out every reference picture that one of the models has learned from.",
        choices=("all", "not trained on"),
        advanced=True,
    )
    metrics: list[str] = option(["fid", "kid", "clip_score", "language_drift"], "What to measure.")
    extractor: str = option(
        "starter", "The CLIP model that looks at the pictures: 'starter', a folder or a Hub id.", advanced=True
    )
    encoders: list[str] = option(
        [],
        "Encoders to take instead of a metric's own, such as 'lpips_vgg' or 'dino'; see docs/metrics.md.",
        advanced=True,
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
    """One cell of a comparison. No `interval` where none is honest; no `value` where it was refused (see flags).

    `per_picture` is keyed by the picture's file in the evaluation, `nearest` names for some of them the real picture
    (its id) that they resemble most.
    """

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
    per_picture: dict[str, float] = field(default_factory=dict)
    nearest: dict[str, str] = field(default_factory=dict)
    versus_base: Comparison | None = None
