"""What a metric is given: the features of one model's pictures, and what to hold them against."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sdstudio.features.memory import all_finite, rows
from sdstudio.metrics.statistics import prompt_means, t_interval
from sdstudio.schema import MetricResult

Interval = tuple[float, float]
Array = npt.NDArray[np.floating[Any]]

REFUSED = "refused"
NOT_COMPUTED = "not computed"
EXPLORATORY = "exploratory"
NO_INTERVAL = "no interval"
"""A flag that begins with one of these words keeps its row out of every ranking."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """N pictures and what an encoder sees in them; D = P = 0 for a metric that looks through none.

    `pooled` (N, D) are the features that distances are taken of, `image` (N, P) unit image embeddings and `text` (N, P)
    the unit embeddings of each picture's prompt; (0, P) where pictures have no prompt. `groups` names for each picture
    what it shares with others: its prompt, or itself alone where there is none. `names` are the files within the
    evaluation of generated pictures and the ids of real ones, `paths` where they lie. `truncated` are the prompts that
    the text encoder cuts. `source` says what files they are, for instance "PNG 64×64".
    """

    pooled: Array
    image: Array
    text: Array
    groups: tuple[str, ...]
    names: tuple[str, ...] = ()
    paths: tuple[Path, ...] = ()
    truncated: tuple[str, ...] = ()
    source: str = ""

    def __len__(self) -> int:
        return len(self.pooled)


def part(pictures: Pictures, places: npt.NDArray[np.intp]) -> Pictures:
    """Those of `pictures` at `places`, in that order."""
    texts = pictures.text[places] if len(pictures.text) else pictures.text
    return replace(
        pictures,
        pooled=rows(pictures.pooled, places),
        image=pictures.image[places],
        text=texts,
        groups=tuple(pictures.groups[place] for place in places),
        names=tuple(pictures.names[place] for place in places) if pictures.names else (),
        paths=tuple(pictures.paths[place] for place in places) if pictures.paths else (),
    )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of a comparison before it is measured, as the metric's encoder sees it.

    None are `drift` and `reference` where the protocol has none, `training` where it is not known what was trained on,
    and `base` for the base model itself; `base` are its pictures of the same prompts and seeds, in the same order.
    `partners` are pairs of places (generated, reference) of pictures that belong together.
    `key` is the row's, `folder` the evaluation's, which holds people's ratings. `flags` go with every cell of the row,
    `reference_flags` with those that hold it against the reference.
    """

    model: str
    generated: Pictures
    drift: Pictures | None = None
    reference: Pictures | None = None
    training: Pictures | None = None
    base: Pictures | None = None
    partners: tuple[tuple[int, int], ...] = ()
    key: str = ""
    folder: Path | None = None
    extractor: str
    preprocessing: str
    flags: tuple[str, ...] = ()
    reference_flags: tuple[str, ...] = ()

    def result(
        self,
        metric: str,
        value: float | None,
        *,
        n_generated: int,
        n_reference: int = 0,
        interval: Interval | None = None,
        flags: tuple[str, ...] = (),
        per_prompt: dict[str, float] | None = None,
        per_picture: dict[str, float] | None = None,
        nearest: dict[str, str] | None = None,
    ) -> MetricResult:
        """The cell of `metric` for this row, with the row's own flags added."""
        return MetricResult(
            metric=metric,
            model=self.model,
            value=value,
            interval=interval,
            n_generated=n_generated,
            n_reference=n_reference,
            extractor=self.extractor,
            preprocessing=self.preprocessing,
            flags=flags + self.flags,
            per_prompt=per_prompt or {},
            per_picture=per_picture or {},
            nearest=nearest or {},
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a measurement found; `per_prompt` where the value is a mean over prompts, `per_picture` by their names."""

    value: float
    interval: Interval | None = None
    flags: tuple[str, ...] = ()
    per_prompt: dict[str, float] = field(default_factory=dict)
    per_picture: dict[str, float] = field(default_factory=dict)
    nearest: dict[str, str] = field(default_factory=dict)


def mean_over_prompts(values: Array, pictures: Pictures) -> Measured:
    """The mean over prompt means of one value (N,) for each picture, with the t-interval over prompts."""
    means = prompt_means(values.tolist(), pictures.groups)
    interval = t_interval(list(means.values()))
    return Measured(
        value=sum(means.values()) / len(means),
        interval=interval,
        flags=() if interval else (f"{NO_INTERVAL}: only one prompt",),
        per_prompt=means,
        per_picture=dict(zip(pictures.names, values.tolist(), strict=False)),
    )


def against_reference(
    metric: str, sample: Sample, measure: Callable[[Pictures, Pictures], Measured], *, fewest: int = 2
) -> MetricResult:
    """The cell of a metric that compares the generated with the reference pictures; see `between`.

    Flagged where the two sides come as different files, since size and format alone move such a metric.
    """
    return between(metric, sample, sample.generated, sample.reference, measure, fewest=fewest)


def between(
    metric: str,
    sample: Sample,
    drawn: Pictures | None,
    real: Pictures | None,
    measure: Callable[[Pictures, Pictures], Measured],
    *,
    fewest: int = 2,
) -> MetricResult:
    """The cell of `measure(drawn, real)`, each of at least `fewest` pictures.

    Refused, with the reason as a flag, where a side has too few pictures or features that are not finite.
    """
    cell = partial(sample.result, metric, n_generated=len(drawn or ()), n_reference=len(real or ()))
    if drawn is None or real is None or min(len(drawn), len(real)) < fewest:
        refusal = f"{REFUSED}: at least {fewest} generated and {fewest} reference pictures are needed"
        return cell(None, flags=(refusal,))
    if not (all_finite(drawn.pooled) and all_finite(real.pooled)):
        return cell(None, flags=(f"{REFUSED}: some features are not finite",))
    found = measure(drawn, real)
    flags = found.flags + sample.reference_flags
    if drawn.source != real.source:
        flags += (f"sources differ: generated {drawn.source}, reference {real.source}",)
    return cell(
        found.value,
        interval=found.interval,
        flags=flags,
        per_prompt=found.per_prompt,
        per_picture=found.per_picture,
        nearest=found.nearest,
    )
