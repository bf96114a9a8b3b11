"""One number from the pixels of each picture: what the metrics that look through no encoder share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from sdstudio.metrics.sample import REFUSED, Pictures, Sample, mean_over_prompts
from sdstudio.schema import MetricResult


def over_pictures(metric: str, sample: Sample, measure: Callable[[Image.Image], float]) -> MetricResult:
    """The mean of `measure(RGB picture)` with the t-interval over prompt means; what real pictures have is a flag."""
    if not len(sample.generated):
        return sample.result(metric, None, n_generated=0, flags=(f"{REFUSED}: there are no pictures",))
    found = mean_over_prompts(_values(sample.generated, measure), sample.generated)
    flags = found.flags
    if sample.reference is not None and len(sample.reference):
        flags += (f"the reference pictures have {_values(sample.reference, measure).mean():.3g}",)
        if sample.reference.source != sample.generated.source:
            flags += (f"sources differ: generated {sample.generated.source}, reference {sample.reference.source}",)
    return sample.result(
        metric,
        found.value,
        n_generated=len(sample.generated),
        interval=found.interval,
        flags=flags,
        per_prompt=found.per_prompt,
        per_picture=found.per_picture,
    )


def _values(pictures: Pictures, measure: Callable[[Image.Image], float]) -> np.ndarray:
    return np.array([_measured(path, measure) for path in pictures.paths])


def _measured(path: Path, measure: Callable[[Image.Image], float]) -> float:
    with Image.open(path) as picture:
        return measure(picture.convert("RGB"))
