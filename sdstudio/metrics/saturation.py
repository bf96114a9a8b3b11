"""How strong the colours are: the mean saturation. Overtrained models burn their pictures into pure colours."""

import numpy as np
from PIL import Image

from sdstudio.metrics.pixels import over_pictures
from sdstudio.metrics.sample import Sample
from sdstudio.schema import Metric, MetricResult


def mean_saturation(picture: Image.Image) -> float:
    """The mean over pixels of (max − min) / max of red, green and blue, 0 for black: from 0 (grey) to 1 (pure)."""
    pixels = np.asarray(picture, np.float64)
    brightest, darkest = pixels.max(2), pixels.min(2)
    return float(np.mean((brightest - darkest) / np.maximum(brightest, 1)))


def compute(sample: Sample) -> MetricResult:
    """The mean over prompts."""
    return over_pictures("saturation", sample, mean_saturation)


RECORD = Metric(
    name="saturation",
    label="Saturation",
    summary="Mean HSV saturation, 0 to 1: far above the real pictures is burnt.",
    paper="Smith 1978, Color Gamut Transform Pairs, SIGGRAPH",
    better="lower",
    needs=("prompts",),
    compute=compute,
)
