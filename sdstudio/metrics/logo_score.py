"""Detector and OCR in one number: the mean of a picture's confidence and its spelling."""

from sdstudio.metrics.found import over_findings
from sdstudio.metrics.sample import Sample
from sdstudio.schema import Finding, Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """average(ocr, detector), which over pictures is the average of the two means."""
    return over_findings("logo_score", sample, _average)


def _average(found: Finding) -> float | None:
    return None if found.similarity is None else (found.confidence + found.similarity) / 2


RECORD = Metric(
    name="logo_score",
    label="Logo score",
    summary="The mean of detector confidence and OCR similarity.",
    paper="the mean of a detector (Redmon et al. 2016) and of edits (Levenshtein 1966)",
    better="higher",
    needs=("prompts", "pictures"),
    compute=compute,
)
