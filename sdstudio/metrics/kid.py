"""Kernel distance between two sets of features: the unbiased MMD² with a cubic polynomial kernel.

Bińkowski et al. 2018, arXiv:1801.01401. Unbiased at every N, so it can be read where FID cannot.
"""

import numpy as np

from sdstudio.metrics import mmd
from sdstudio.metrics.sample import Array, Measured, Pictures, Sample, against_reference
from sdstudio.schema import Metric, MetricResult


def kernel(first: Array, second: Array) -> Array:
    """k(x, y) = (x·y / D + 1)³ for every pair: (N₁, D), (N₂, D) → (N₁, N₂)."""
    return np.asarray((first @ second.T / first.shape[1] + 1) ** 3, np.float64)


def compute(sample: Sample) -> MetricResult:
    """KID to the reference with a jackknife t-interval."""
    return against_reference("kid", sample, _measure)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    return mmd.measured(kernel, generated.pooled, reference.pooled, generated.groups)


RECORD = Metric(
    name="kid",
    label="KID",
    summary="Kernel distance between the features of the generated and the reference pictures; unbiased at any N.",
    paper="Bińkowski et al. 2018, Demystifying MMD GANs, arXiv:1801.01401",
    better="lower",
    needs=("prompts", "reference"),
    features=("inception", "dino", "starter"),
    compute=compute,
)
