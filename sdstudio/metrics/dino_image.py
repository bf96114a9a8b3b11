"""Whether the very thing or style was learned, whatever it is called: DreamBooth's DINO score."""

from sdstudio.metrics.resemblance import mean_cosine
from sdstudio.metrics.sample import Sample, against_reference
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The mean cosine between each generated and every reference picture, with the t-interval over prompt means."""
    return against_reference("dino_image", sample, mean_cosine)


RECORD = Metric(
    name="dino_image",
    label="DINO",
    summary="Mean cosine between the generated and the reference pictures under DINO, which tells dogs apart.",
    paper="Ruiz et al. 2022, DreamBooth, arXiv:2208.12242, section 4.1",
    better="higher",
    needs=("prompts", "reference"),
    features=("dino", "starter"),
    compute=compute,
)
