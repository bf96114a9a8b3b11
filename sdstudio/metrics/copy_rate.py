"""How many pictures are copies of a training picture, as far as an encoder can tell.

A picture counts as copied when it is nearer to a training picture than all but 5% of real pictures are to their
nearest other one. So 5% is what a model scores that draws new pictures of the same kind. Nearest neighbours under
frozen features as in Somepalli et al. 2022, arXiv:2212.03860, whose fixed threshold belongs to their encoder alone.
"""

from dataclasses import replace

import numpy as np

from sdstudio.metrics.resemblance import cosines
from sdstudio.metrics.sample import EXPLORATORY, REFUSED, Array, Measured, Pictures, Sample, between
from sdstudio.metrics.shares import share_over_prompts
from sdstudio.schema import Metric, MetricResult

QUANTILE, ENOUGH = 0.05, 20


def compute(sample: Sample) -> MetricResult:
    """The share of copies, averaged over prompts; `per_picture` is the cosine to the nearest training picture."""
    if sample.training is None:
        reason = f"{REFUSED}: the pictures that were trained on are not here"
        return sample.result("copy_rate", None, n_generated=len(sample.generated), flags=(reason,))

    def measure(drawn: Pictures, training: Pictures) -> Measured:
        return _measure(drawn, training, sample.reference)

    return between("copy_rate", sample, sample.generated, sample.training, measure, fewest=2)


def threshold(training: Pictures, held_out: Pictures | None) -> tuple[float, int]:
    """The cosine that 5% of real pictures pass to their nearest training picture, and how many real ones there are.

    The real ones are those held out that were not trained on; where there are none the training pictures themselves,
    each to its nearest other one.
    """
    seen = set(training.names)
    new = [place for place, name in enumerate(held_out.names) if name not in seen] if held_out else []
    if held_out is not None and new:
        nearest = cosines(held_out.pooled[new], training.pooled).max(1)
    else:
        among = cosines(training.pooled, training.pooled)
        np.fill_diagonal(among, -np.inf)
        nearest = among.max(1)
    return float(np.quantile(nearest, 1 - QUANTILE, method="higher")), len(nearest)


def _measure(drawn: Pictures, training: Pictures, held_out: Pictures | None) -> Measured:
    limit, real = threshold(training, held_out)
    alike: Array = cosines(drawn.pooled, training.pooled)
    highest = alike.max(1)
    found = share_over_prompts((highest > limit).astype(float), drawn)
    flags = [f"a copy is nearer to a training picture than cosine {limit:.3f}, as 5% of {real} real pictures are"]
    if real < ENOUGH:
        flags.append(f"{EXPLORATORY}: {real} real pictures set the threshold, {ENOUGH} are needed")
    return replace(
        found,
        flags=(*found.flags, *flags),
        per_picture=dict(zip(drawn.names, highest.tolist(), strict=False)),
        nearest={name: training.names[place] for name, place in zip(drawn.names, alike.argmax(1), strict=False)},
    )


RECORD = Metric(
    name="copy_rate",
    label="Copy rate",
    summary="Share of pictures nearer to a training picture than 95% of real ones; about 5% where none is copied.",
    paper="after Somepalli et al. 2022, Diffusion Art or Digital Forgery?, arXiv:2212.03860",
    better="lower",
    needs=("prompts", "training"),
    features=("dino", "starter"),
    compute=compute,
)
