"""How far the pictures are from the real ones as people see them: LPIPS between every generated and every real one."""

from sdstudio.metrics.perceptual import lpips_between
from sdstudio.metrics.sample import Measured, Pictures, Sample, against_reference, mean_over_prompts
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The mean over all pairs, averaged first within and then over prompts, with the t-interval over prompt means."""
    return against_reference("lpips", sample, _measure)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    return mean_over_prompts(lpips_between(generated.pooled, reference.pooled).mean(1), generated)


RECORD = Metric(
    name="lpips",
    label="LPIPS",
    summary="Mean perceptual distance between each generated and every reference picture; lower is more alike.",
    paper="Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features, arXiv:1801.03924",
    better="lower",
    needs=("prompts", "reference"),
    features=("lpips_alex", "lpips_vgg", "starter_layers"),
    compute=compute,
)
