"""How many faces look cross-eyed to people who do not know the model: the crossed-eyes ratio.

C = 1/N Σ 1(crossed eyes). The sum runs over pictures in which raters saw a face; a model that draws none has no ratio.
"""

from sdstudio.metrics.rated import share_of_pictures
from sdstudio.metrics.sample import Sample
from sdstudio.ratings import judged, store
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The ratio over the pictures with a face, with Wilson's interval, from the sessions that have ended."""
    sessions = store.read(sample.folder).ended("defect", store.CROSSED_EYES) if sample.folder else []
    return share_of_pictures("crossed_eyes", sample, judged.shares(sessions))


RECORD = Metric(
    name="crossed_eyes",
    label="Crossed eyes",
    summary="Share of the faces that people, who do not see the model, call cross-eyed; lower is better.",
    paper="Wilson 1927, Probable Inference, JASA 22 (the interval)",
    better="lower",
    needs=("prompts", "ratings"),
    compute=compute,
)
