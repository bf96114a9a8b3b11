"""How much fine detail pictures have: the variance of the Laplacian. Smoothed-out ones have little, burnt ones much."""

import numpy as np
from PIL import Image

from sdstudio.metrics.pixels import over_pictures
from sdstudio.metrics.sample import Sample
from sdstudio.schema import Metric, MetricResult


def laplacian_variance(picture: Image.Image) -> float:
    """The variance of Δ = left + right + up + down − 4·centre of the grey levels (0 to 255), borders left out."""
    grey = np.asarray(picture.convert("L"), np.float64)
    laplacian = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1] - 4 * grey[1:-1, 1:-1]
    return float(laplacian.var())


def compute(sample: Sample) -> MetricResult:
    """The mean over prompts; it can be compared at one picture size only."""
    return over_pictures("sharpness", sample, laplacian_variance)


RECORD = Metric(
    name="sharpness",
    label="Sharpness",
    summary="Variance of the Laplacian: low is smoothed out, far above the real pictures is burnt.",
    paper="Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy, ICPR",
    better="higher",
    needs=("prompts",),
    compute=compute,
)
