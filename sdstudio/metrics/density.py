"""Precision that one odd reference picture cannot raise: in how many reference balls a generated picture lies."""

from sdstudio.metrics.neighbours import balls_hit, radii
from sdstudio.metrics.sample import Measured, Pictures, Sample, against_reference, mean_over_prompts
from sdstudio.schema import Metric, MetricResult

K = 5


def compute(sample: Sample) -> MetricResult:
    """1/k · the mean number of reference balls, out to the fifth neighbour, around a generated picture."""
    return against_reference("density", sample, _measure, fewest=K + 1)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    hits = balls_hit(reference.pooled, radii(reference.pooled, K), generated.pooled)
    return mean_over_prompts(hits / K, generated)


RECORD = Metric(
    name="density",
    label="Density",
    summary="How densely reference pictures lie around the generated ones; near 1 when both are alike, can exceed 1.",
    paper="Naeem et al. 2020, Reliable Fidelity and Diversity Metrics for Generative Models, arXiv:2002.09797",
    better="higher",
    needs=("prompts", "reference"),
    features=("inception", "dino", "starter"),
    compute=compute,
)
