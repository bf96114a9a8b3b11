"""How much the pictures resemble the real ones, one by one: DreamBooth's CLIP-I."""

import numpy as np

from sdstudio.metrics.sample import Measured, Pictures, Sample, against_reference, mean_over_prompts
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The mean cosine between each generated and every reference picture, with the t-interval over prompt means."""
    return against_reference("clip_image", sample, _measure)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    """The mean over references of a cosine of unit vectors is the product with their mean."""
    cosines = generated.image.astype(np.float64) @ reference.image.astype(np.float64).mean(0)
    return mean_over_prompts(cosines, generated)


RECORD = Metric(
    name="clip_image",
    label="CLIP-I",
    summary="Mean cosine between the generated and the reference pictures, under a frozen CLIP; higher is more alike.",
    paper="Ruiz et al. 2022, DreamBooth, arXiv:2208.12242, section 4.1",
    better="higher",
    needs=("prompts", "reference"),
    features=("clip",),
    compute=compute,
)
