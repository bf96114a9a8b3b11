"""What a metric is given: the features of one model's pictures, and what to hold them against."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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


def against_reference(
    metric: str,
    sample: Sample,
    measure: Callable[[Pictures, Pictures], tuple[float, Interval | None, tuple[str, ...]]],
) -> MetricResult:
    """The cell of a metric that compares two sets: `measure(generated, reference)` gives value, interval and flags.

    Refused, with the reason as a flag, where a side has fewer than two pictures or features that are not finite.
    Flagged where the two sides come as different files, since size and format alone move such a metric.
    """
    generated, reference = sample.generated, sample.reference
    n_reference = len(reference) if reference is not None else 0
    if reference is None or min(len(generated), n_reference) < 2:
        refusal = f"{REFUSED}: at least 2 generated and 2 reference pictures are needed"
        return sample.result(metric, None, n_generated=len(generated), n_reference=n_reference, flags=(refusal,))
    if not (np.isfinite(generated.pooled).all() and np.isfinite(reference.pooled).all()):
        refusal = f"{REFUSED}: some features are not finite"
        return sample.result(metric, None, n_generated=len(generated), n_reference=n_reference, flags=(refusal,))
    value, interval, flags = measure(generated, reference)
    flags += sample.reference_flags
    if generated.source != reference.source:
        flags += (f"sources differ: generated {generated.source}, reference {reference.source}",)
    return sample.result(
        metric, value, n_generated=len(generated), n_reference=n_reference, interval=interval, flags=flags
    )
