"""What a metric is given: the features of one model's pictures, and what to hold them against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sdstudio.metrics.statistics import prompt_means, t_interval
from sdstudio.schema import MetricResult

Interval = tuple[float, float]
Array = npt.NDArray[np.floating[Any]]

REFUSED = "refused"
EXPLORATORY = "exploratory"
NO_INTERVAL = "no interval"
"""A flag that begins with one of these words keeps its row out of every ranking."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Features of N pictures.

    `pooled` (N, D) are the encoder's features before projection, `image` (N, P) its unit image embeddings and `text`
    (N, P) the unit embeddings of each picture's prompt; (0, P) where pictures have no prompt. `groups` names for each
    picture what it shares with others: its prompt, or itself alone where there is none. `truncated` are the prompts
    that the text encoder cuts. `source` says what files they are, for instance "PNG 64×64".
    """

    pooled: Array
    image: Array
    text: Array
    groups: tuple[str, ...]
    truncated: tuple[str, ...] = ()
    source: str = ""

    def __len__(self) -> int:
        return len(self.pooled)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of a comparison before it is measured. `drift` and `reference` are None where the protocol has none.

    `flags` go with every cell of the row, `reference_flags` with those that hold it against the reference.
    """

    model: str
    generated: Pictures
    drift: Pictures | None = None
    reference: Pictures | None = None
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
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a comparison with the reference found; `per_prompt` where the value is a mean over prompts."""

    value: float
    interval: Interval | None = None
    flags: tuple[str, ...] = ()
    per_prompt: dict[str, float] = field(default_factory=dict)


def mean_over_prompts(values: Array, groups: Sequence[str]) -> Measured:
    """The mean over prompt means of one value (N,) for each picture, with the t-interval over prompts."""
    means = prompt_means(values.tolist(), groups)
    interval = t_interval(list(means.values()))
    flags = () if interval else (f"{NO_INTERVAL}: only one prompt",)
    return Measured(value=sum(means.values()) / len(means), interval=interval, flags=flags, per_prompt=means)


def against_reference(
    metric: str, sample: Sample, measure: Callable[[Pictures, Pictures], Measured], *, fewest: int = 2
) -> MetricResult:
    """The cell of a metric that compares two sets, by `measure(generated, reference)` of at least `fewest` pictures.

    Refused, with the reason as a flag, where a side has too few pictures or features that are not finite.
    Flagged where the two sides come as different files, since size and format alone move such a metric.
    """
    generated, reference = sample.generated, sample.reference
    n_reference = len(reference) if reference is not None else 0
    if reference is None or min(len(generated), n_reference) < fewest:
        refusal = f"{REFUSED}: at least {fewest} generated and {fewest} reference pictures are needed"
        return sample.result(metric, None, n_generated=len(generated), n_reference=n_reference, flags=(refusal,))
    if not (np.isfinite(generated.pooled).all() and np.isfinite(reference.pooled).all()):
        refusal = f"{REFUSED}: some features are not finite"
        return sample.result(metric, None, n_generated=len(generated), n_reference=n_reference, flags=(refusal,))
    found = measure(generated, reference)
    flags = found.flags + sample.reference_flags
    if generated.source != reference.source:
        flags += (f"sources differ: generated {generated.source}, reference {reference.source}",)
    return sample.result(
        metric,
        found.value,
        n_generated=len(generated),
        n_reference=n_reference,
        interval=found.interval,
        flags=flags,
        per_prompt=found.per_prompt,
    )
