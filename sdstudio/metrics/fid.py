"""Fréchet distance between two sets of features, pooled over all pictures of a model.

Heusel et al. 2017, arXiv:1706.08500. With the Inception-v3 features of that paper it is the FID; with
another encoder it is a Fréchet distance that can only be compared with others of the same encoder.
"""

import numpy as np

from sdstudio.metrics.sample import EXPLORATORY, Array, Measured, Pictures, Sample, against_reference
from sdstudio.schema import Metric, MetricResult


def frechet_distance(first: Array, second: Array) -> float:
    """‖μ₁−μ₂‖² + Tr Σ₁ + Tr Σ₂ − 2 Tr √(Σ₁Σ₂) of features (N₁, D) and (N₂, D), N ≥ 2, in float64.

    Tr √(Σ₁Σ₂) is the nuclear norm of X₁ᶜX₂ᶜᵀ over √((N₁−1)(N₂−1)): no D×D square root is taken. Where N > D the
    centred set is first replaced by the R of its QR, which leaves the nuclear norm as it is.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    shift = first.mean(0) - second.mean(0)
    first, second = (_scaled(features) for features in (first, second))
    cross = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return max(float(shift @ shift + np.sum(first**2) + np.sum(second**2) - 2 * cross), 0.0)


def _scaled(features: Array) -> Array:
    """A matrix A with AᵀA = the covariance of `features`, of at most D rows."""
    centred = (features - features.mean(0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(centred) > centred.shape[1] else centred


def compute(sample: Sample) -> MetricResult:
    """The pooled distance to the reference; without interval, since a plain bootstrap's leaves its own value out."""
    return against_reference("fid", sample, _measure)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    fewest, dimensions = min(len(generated), len(reference)), generated.pooled.shape[1]
    flag = f"{EXPLORATORY}: {fewest} pictures for {dimensions} dimensions, too few to rank models by it"
    value = frechet_distance(generated.pooled, reference.pooled)
    return Measured(value=value, flags=(flag,) if fewest <= dimensions else ())


RECORD = Metric(
    name="fid",
    label="FID",
    summary="Fréchet distance between the features of the generated and the reference pictures; depends on N.",
    paper="Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, arXiv:1706.08500",
    better="lower",
    needs=("prompts", "reference"),
    features=("inception", "dino", "starter"),
    compute=compute,
)
