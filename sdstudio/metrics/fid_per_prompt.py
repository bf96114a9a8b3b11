"""The mean of one Fréchet distance per prompt, as the SAM report computes its FID; another number than the pooled one.

Each distance is between the few pictures of one prompt and the whole reference, so it is far from what many pictures
would give, and always exploratory.
"""

from collections import Counter

import numpy as np

from sdstudio.metrics.fid import frechet_distance
from sdstudio.metrics.sample import EXPLORATORY, REFUSED, Measured, Pictures, Sample, against_reference
from sdstudio.metrics.statistics import t_interval
from sdstudio.schema import Metric, MetricResult
from sdstudio.words import count


def compute(sample: Sample) -> MetricResult:
    """The mean over prompts with at least two pictures; refused where there is none."""
    counts = Counter(sample.generated.groups)
    if max(counts.values(), default=0) < 2:
        refusal = f"{REFUSED}: no prompt has 2 pictures; give the protocol more seeds"
        n_reference = len(sample.reference) if sample.reference is not None else 0
        return sample.result(
            "fid_per_prompt", None, n_generated=len(sample.generated), n_reference=n_reference, flags=(refusal,)
        )
    return against_reference("fid_per_prompt", sample, _measure)


def _measure(generated: Pictures, reference: Pictures) -> Measured:
    groups = np.array(generated.groups)
    counts = Counter(generated.groups)
    means = {
        prompt: frechet_distance(generated.pooled[groups == prompt], reference.pooled)
        for prompt, pictures in counts.items()
        if pictures > 1
    }
    fewest = min(counts[prompt] for prompt in means)
    flag = f"{EXPLORATORY}: {count(fewest, 'picture')} a prompt for {generated.pooled.shape[1]} dimensions"
    values = list(means.values())
    return Measured(value=sum(values) / len(values), interval=t_interval(values), flags=(flag,), per_prompt=means)


RECORD = Metric(
    name="fid_per_prompt",
    label="FID per prompt",
    summary="Mean of the FIDs of each prompt's own pictures; compares with reports that average so, not with FID.",
    paper="Lin, Mo, Yang and Qu 2023, SAM: Simpson's Artistic Memory (ten FIDs of ten pictures)",
    better="lower",
    needs=("prompts", "reference"),
    features=("inception", "dino", "starter"),
    compute=compute,
)
