"""Is the word on the logo spelled correctly? How alike what is read and what should be there are, letter by letter."""

from sdstudio.metrics.found import over_findings
from sdstudio.metrics.sample import Sample
from sdstudio.schema import Finding, Metric, MetricResult


def compute(sample: Sample) -> MetricResult:
    """The mean of 1 − edits / the longer word's length; the reader's own confidence is a flag, kept apart."""
    return over_findings("ocr", sample, lambda found: found.similarity, _sureness)


def _sureness(found: list[Finding]) -> tuple[str, ...]:
    known = [one.reading.confidence for one in found if one.reading and one.reading.confidence is not None]
    return (f"the reader's own confidence is {sum(known) / len(known):.2f}",) if known else ()


RECORD = Metric(
    name="ocr",
    label="OCR",
    summary="How alike the word that is read and the word on the logo are: 1 − edits / length.",
    paper="Levenshtein 1966, Binary codes capable of correcting deletions, insertions, and reversals",
    better="higher",
    needs=("prompts", "pictures"),
    compute=compute,
)
