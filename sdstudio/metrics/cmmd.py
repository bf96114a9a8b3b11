"""CLIP maximum mean discrepancy: MMD² of unit image embeddings under a Gaussian kernel, times 1000.

Jayasumana et al. 2024, arXiv:2401.09603: σ = 10 and the factor 1000 are that paper's. Its code averages over all pairs
including each picture with itself, which adds a bias of order 1/N; here the estimate is the unbiased one.
"""

import numpy as np

from sdstudio.metrics import mmd
from sdstudio.metrics.neighbours import squared_distances
from sdstudio.metrics.sample import Array, Measured, Pictures, Sample, against_reference
from sdstudio.schema import Metric, MetricResult

SIGMA, SCALE = 10.0, 1000.0


def kernel(first: Array, second: Array) -> Array:
    """1000 · exp(−‖x − y‖² / 2σ²) for every pair: (N₁, D), (N₂, D) → (N₁, N₂)."""
    return np.asarray(SCALE * np.exp(-squared_distances(first, second) / (2 * SIGMA**2)), np.float64)


def compute(sample: Sample) -> MetricResult:
    """CMMD to the reference with a jackknife t-interval."""
    return against_reference("cmmd", sample, _measure)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    return mmd.measured(kernel, generated.image, reference.image, generated.groups)


RECORD = Metric(
    name="cmmd",
    label="CMMD",
    summary="Kernel distance between CLIP embeddings of the generated and the reference pictures; unbiased at any N.",
    paper="Jayasumana et al. 2024, Rethinking FID, arXiv:2401.09603",
    better="lower",
    needs=("prompts", "reference"),
    features=("clip",),
    compute=compute,
)
