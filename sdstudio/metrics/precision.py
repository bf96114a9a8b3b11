"""How many generated pictures look like real ones: the share that lies in the reference's manifold."""

from sdstudio.metrics.neighbours import balls_hit, radii
from sdstudio.metrics.sample import Measured, Pictures, Sample, against_reference
from sdstudio.metrics.shares import share_over_prompts
from sdstudio.schema import Metric, MetricResult

K = 3


def compute(sample: Sample) -> MetricResult:
    """The share of generated pictures within the ball of any reference picture's third neighbour."""
    return against_reference("precision", sample, _measure, fewest=K + 1)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    hit = balls_hit(reference.pooled, radii(reference.pooled, K), generated.pooled) > 0
    return share_over_prompts(hit.astype(float), generated)


RECORD = Metric(
    name="precision",
    label="Precision",
    summary="Share of the generated pictures that lie among the reference pictures: whether they look real.",
    paper="Kynkäänniemi et al. 2019, Improved Precision and Recall Metric, arXiv:1904.06991",
    better="higher",
    needs=("prompts", "reference"),
    features=("inception", "dino", "starter"),
    compute=compute,
)
