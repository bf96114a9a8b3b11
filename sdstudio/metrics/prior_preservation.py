"""Whether other things of the class have turned into the learned one: DreamBooth's PRES."""

from sdstudio.metrics.resemblance import mean_cosine
from sdstudio.metrics.sample import Sample, between
from sdstudio.schema import Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The mean cosine between each picture of the drift prompts and every real one, with the t-interval over prompts.

    The drift prompts should ask for the class without the trigger ("a dog"). What the base model scores is how alike
    they are anyway.
    """
    return between("prior_preservation", sample, sample.drift, sample.reference, mean_cosine, fewest=2)


RECORD = Metric(
    name="prior_preservation",
    label="Prior preservation (PRES)",
    summary="Mean cosine of pictures without the trigger to the real subject; above the base: collapsed.",
    paper="Ruiz et al. 2022, DreamBooth, arXiv:2208.12242, section 4.3",
    better="lower",
    needs=("drift_prompts", "reference"),
    features=("dino", "starter"),
    compute=compute,
)
