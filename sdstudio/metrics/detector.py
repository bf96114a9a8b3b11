"""Does the logo look like the logo? How sure a detector is of it, 0 for a picture in which it finds none."""

from sdstudio.metrics.found import over_findings
from sdstudio.metrics.sample import Sample
from sdstudio.schema import Finding, Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The mean confidence of the surest find in each picture; the share of pictures with a find is a flag."""
    return over_findings("detector", sample, lambda found: found.confidence, _rate)


def _rate(found: list[Finding]) -> tuple[str, ...]:
    hits = sum(one.box is not None for one in found)
    return (f"found in {hits} of {len(found)} pictures",)


RECORD = Metric(
    name="detector",
    label="Detector",
    summary="Mean confidence with which a detector finds the logo, 0 where it finds none.",
    paper="Redmon et al. 2016, You Only Look Once, arXiv:1506.02640",
    better="higher",
    needs=("prompts", "pictures"),
    compute=compute,
)
