"""How much pictures of one prompt differ from each other: DreamBooth's DIV."""

from dataclasses import replace

import numpy as np

from sdstudio.features.memory import all_finite
from sdstudio.metrics.perceptual import lpips_between
from sdstudio.metrics.sample import REFUSED, Sample, mean_over_prompts, part
from sdstudio.schema import Metric, MetricResult
from sdstudio.words import count


def compute(sample: Sample) -> MetricResult:
    """The mean LPIPS over the pairs of each prompt's pictures, averaged over prompts, with the t-interval over them.

    A prompt of one picture says nothing and is left out; refused where no prompt has two.
    """
    pictures = sample.generated
    if not all_finite(pictures.pooled):
        reason = "some features are not finite"
        return sample.result("diversity", None, n_generated=len(pictures), flags=(f"{REFUSED}: {reason}",))
    groups, values = np.array(pictures.groups), np.full(len(pictures), np.nan)
    for prompt in dict.fromkeys(pictures.groups):
        places = np.flatnonzero(groups == prompt)
        if len(places) > 1:
            own = pictures.pooled[places]
            values[places] = lpips_between(own, own).sum(1) / (len(places) - 1)
    counted = np.flatnonzero(np.isfinite(values))
    if not len(counted):
        reason = "no prompt has 2 pictures; give the protocol more seeds"
        return sample.result("diversity", None, n_generated=len(pictures), flags=(f"{REFUSED}: {reason}",))
    named = part(replace(pictures, pooled=pictures.pooled[:, :0]), counted)
    found = mean_over_prompts(values[counted], named)
    alone = len(pictures) - len(counted)
    flags = (f"{count(alone, 'picture')} left out: the only one of its prompt",) if alone else ()
    return sample.result(
        "diversity",
        found.value,
        interval=found.interval,
        n_generated=len(counted),
        flags=found.flags + flags,
        per_prompt=found.per_prompt,
        per_picture=found.per_picture,
    )


RECORD = Metric(
    name="diversity",
    label="Diversity (DIV)",
    summary="Mean perceptual distance between pictures of the same prompt; low where the model draws one thing only.",
    paper="Ruiz et al. 2022, DreamBooth, arXiv:2208.12242, section 4.3",
    better="higher",
    needs=("prompts",),
    features=("lpips_alex", "lpips_vgg", "starter_layers"),
    compute=compute,
)
