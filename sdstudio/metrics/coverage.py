"""Recall that odd generated pictures cannot raise: the share of reference pictures with a generated one nearby."""

from sdstudio.metrics.neighbours import nearest, radii
from sdstudio.metrics.sample import Measured, Pictures, Sample, against_reference
from sdstudio.schema import Metric, MetricResult

K = 5


def compute(sample: Sample) -> MetricResult:
    """The share of reference balls, out to the fifth neighbour, that hold a generated picture; no interval."""
    return against_reference("coverage", sample, _measure, fewest=K + 1)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    hit = nearest(reference.pooled, generated.pooled) <= radii(reference.pooled, K)
    return Measured(value=float(hit.mean()))


RECORD = Metric(
    name="coverage",
    label="Coverage",
    summary="Share of the reference pictures that have a generated one in their neighbourhood; grows with N.",
    paper="Naeem et al. 2020, Reliable Fidelity and Diversity Metrics for Generative Models, arXiv:2002.09797",
    better="higher",
    needs=("prompts", "reference"),
    features=("inception", "dino", "starter"),
    compute=compute,
)
