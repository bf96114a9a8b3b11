"""The records that one-file plug-ins fill."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sdstudio.schema.evaluating import MetricResult


@dataclass(frozen=True, kw_only=True)
class Method:
    """A fine-tuning method; one file in `methods/` holds one as RECORD.

    `trigger(captions, options)` gives the word that calls what is learned (None: the one that was given, or the first
    that all captions share). `check(options, facts)` raises a UserError for what would fail, before the job starts.
    `examples(captioned, options, sources)` chooses what to learn from (None: the captioned pictures), `loss` replaces
    the engine's.
    """

    name: str
    label: str
    summary: str
    paper: str
    Options: type
    prepare: Callable[..., Any]
    save: Callable[..., Any]
    load: Callable[..., Any]
    trigger: Callable[..., str] | None = None
    check: Callable[..., None] | None = None
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
class Guidance:
    """A way to steer the picture while it forms; one file in `guidance/`.

    `check(prompt, options)` raises a UserError for a prompt that it cannot take. `steer(request, options)` returns the
    Steering of one batch (see sampling.steering).
    """

    name: str
    label: str
    summary: str
    paper: str
    Options: type
    check: Callable[..., None]
    steer: Callable[..., Any]


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
    """A frozen encoder that metrics share; one file in `features/`.

    `dimensions` are those of its pooled features, 0 where the weights or the pictures' size decide them. `load(weights,
    device)` gives the encoder, whose weights lie in the folder `weights` or are fetched; where they are not here it
    raises features.weights.WeightsMissing, which says how to get them. A `bundled` one comes with the studio, knows
    the starter's drawn world alone and is used for nothing else.
    """

    name: str
    label: str
    summary: str
    paper: str
    dimensions: int
    load: Callable[..., Any]
    bundled: bool = False


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measurement of generated pictures; one file in `metrics/`.

    `features` names the encoders that it may look through: the first is its own, another one is used where the protocol
    prefers it, and a bundled one on the starter; empty for a metric that reads the files, the ratings or nothing.
    `needs` is what the Sample must hold: pictures of the `prompts`, or of those without the trigger, real ones as a
    `reference`, which of these are `partners` of which drawn ones, those of the `training`, people's `ratings`, or the
    files of the `pictures`. `compute(sample)` gives the cell, refused in words where the sample does not suffice.
    """

    name: str
    label: str
    summary: str
    paper: str
    better: Literal["higher", "lower"]
    needs: tuple[Literal["prompts", "drift_prompts", "reference", "partners", "training", "ratings", "pictures"], ...]
    features: tuple[str, ...] = ()
    compute: Callable[..., MetricResult]


@dataclass(frozen=True, kw_only=True)
class Export:
    """A form that a checkpoint can travel in; one file in `exports/`.

    `suffix` is that of the file, empty where the export is a folder. `refuse(folder)` is why the checkpoint in `folder`
    cannot take this form, empty where it can. `write(ws, folder, target, metadata)` writes it.
    """

    name: str
    label: str
    summary: str
    suffix: str
    refuse: Callable[..., str]
    write: Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Detector:
    """What finds things in pictures; one file in `detectors/`.

    `load(options, device)` gives a function of picture files that yields a list of Box for each, in their order.
    """

    name: str
    label: str
    summary: str
    paper: str
    Options: type
    load: Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """What reads words in pictures; one file in `readers/`.

    `load(options, device)` gives a function of one RGB picture, as small as it may be, to its Reading.
    """

    name: str
    label: str
    summary: str
    paper: str
    Options: type
    load: Callable[..., Any]
