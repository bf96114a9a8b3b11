"""How much of the real pictures' variety a model reaches: the share of them that lies in the generated manifold."""

from sdstudio.metrics.neighbours import balls_hit, radii
from sdstudio.metrics.sample import Measured, Pictures, Sample, against_reference
from sdstudio.schema import Metric, MetricResult

K = 3


def compute(sample: Sample) -> MetricResult:
    """The share of reference pictures within the ball of any generated picture's third neighbour; no interval."""
    return against_reference("recall", sample, _measure, fewest=K + 1)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    hit = balls_hit(generated.pooled, radii(generated.pooled, K), reference.pooled) > 0
    return Measured(value=float(hit.mean()))


RECORD = Metric(
    name="recall",
    label="Recall",
    summary="Share of the reference pictures that lie among the generated ones: whether their variety is reached.",
    paper="Kynkäänniemi et al. 2019, Improved Precision and Recall Metric, arXiv:1904.06991",
    better="higher",
    needs=("prompts", "reference"),
    features=("inception", "dino", "starter"),
    compute=compute,
)
