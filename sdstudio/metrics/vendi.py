"""How many different pictures there are in effect: the Vendi score of their CLIP embeddings."""

import numpy as np

from sdstudio.metrics.sample import REFUSED, Array, Sample
from sdstudio.schema import Metric, MetricResult


def vendi_score(unit: Array) -> float:
    """exp(−Σ λ log λ) over the eigenvalues λ of K/N, K the cosines of N unit rows (N, D); from 1 to N."""
    unit = np.asarray(unit, np.float64)
    eigenvalues = np.linalg.svd(unit / np.sqrt(len(unit)), compute_uv=False) ** 2
    shares = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def compute(sample: Sample) -> MetricResult:
    """The score of all pictures of the row; it can only be compared at the same N and prompts, and has no interval."""
    pictures = sample.generated
    if not len(pictures) or not np.isfinite(pictures.image).all():
        reason = "some features are not finite" if len(pictures) else "there are no pictures"
        return sample.result("vendi", None, n_generated=len(pictures), flags=(f"{REFUSED}: {reason}",))
    return sample.result("vendi", vendi_score(pictures.image), n_generated=len(pictures))


RECORD = Metric(
    name="vendi",
    label="Vendi score",
    summary="The effective number of different pictures, from 1 when all are alike to N when none resembles another.",
    paper="Friedman and Dieng 2023, The Vendi Score, arXiv:2210.02410",
    better="higher",
    needs=("prompts",),
    features=("clip",),
    compute=compute,
)
