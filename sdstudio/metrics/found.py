"""What a look at the pictures has found, as the metrics of logo and text read it from the comparison's folder."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sdstudio.metrics.sample import NOT_COMPUTED, Sample, mean_over_prompts
from sdstudio.schema import Finding, LogoFindings, MetricResult, from_json
from sdstudio.workspace import read_json

LOGO_FILE = "logo.json"
LOGO_METRICS = ("detector", "ocr", "logo_score")


def over_findings(
    metric: str,
    sample: Sample,
    measure: Callable[[Finding], float | None],
    notes: Callable[[list[Finding]], tuple[str, ...]] = lambda found: (),
) -> MetricResult:
    """The mean of `measure` over prompt means, with the t-interval over prompts; `notes` become flags.

    Not computed before the comparison was looked at, where some of its pictures were not, and where `measure` is None:
    nothing was to be read.
    """
    looked = _looked(sample)
    if looked is None:
        reason = f"{NOT_COMPUTED}: nobody has looked for a logo in these pictures, see Logo and text"
        return sample.result(metric, None, n_generated=len(sample.generated), flags=(reason,))
    named = replace(sample, extractor=f"{looked.detector}; {looked.reader}", preprocessing="")
    found = [looked.findings[name] for name in sample.generated.names if name in looked.findings]
    values = [value for one in found if (value := measure(one)) is not None]
    if len(values) < max(len(sample.generated), 1):
        reason = f"{NOT_COMPUTED}: {len(values)} of {len(sample.generated)} pictures were looked at for this"
        return named.result(metric, None, n_generated=len(sample.generated), flags=(reason,))
    mean = mean_over_prompts(np.array(values), sample.generated)
    return named.result(
        metric,
        mean.value,
        n_generated=len(values),
        interval=mean.interval,
        flags=notes(found) + mean.flags,
        per_prompt=mean.per_prompt,
        per_picture=mean.per_picture,
    )


def _looked(sample: Sample) -> LogoFindings | None:
    file = sample.folder / LOGO_FILE if sample.folder else None
    return from_json(LogoFindings, read_json(file)) if file and file.is_file() else None
