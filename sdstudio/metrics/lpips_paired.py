"""How far each picture is from the real one that it belongs to: LPIPS between partners."""

import numpy as np

from sdstudio.metrics.perceptual import lpips_between
from sdstudio.metrics.sample import REFUSED, Measured, Pictures, Sample, between, mean_over_prompts, part
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The mean over pairs, averaged first within and then over prompts, with the t-interval over prompt means."""
    if not sample.partners or sample.reference is None:
        reason = "no picture belongs to a reference picture: prompts must be their captions, or files carry their names"
        return sample.result("lpips_paired", None, n_generated=len(sample.generated), flags=(f"{REFUSED}: {reason}",))
    drawn, real = (np.array(places) for places in zip(*sample.partners, strict=True))
    pairs = part(sample.generated, drawn), part(sample.reference, real)
    return between("lpips_paired", sample, *pairs, _measure, fewest=1)


def _measure(drawn: Pictures, real: Pictures) -> Measured:
    values = [lpips_between(drawn.pooled[[place]], real.pooled[[place]]).item() for place in range(len(drawn))]
    return mean_over_prompts(np.array(values), drawn)


RECORD = Metric(
    name="lpips_paired",
    label="LPIPS, paired",
    summary="Mean perceptual distance between each picture and the real one whose caption or file name it has.",
    paper="Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features, arXiv:1801.03924",
    better="lower",
    needs=("prompts", "reference", "partners"),
    features=("lpips_alex", "lpips_vgg", "starter_layers"),
    compute=compute,
)
