"""A defect as people see it: what the metrics that count defects share."""

from collections.abc import Mapping

from sdstudio.metrics.sample import NOT_COMPUTED, Sample
from sdstudio.metrics.statistics import prompt_means
from sdstudio.ratings.judged import Share
from sdstudio.ratings.proportion import wilson
from sdstudio.schema import MetricResult
from sdstudio.words import count

NOBODY = f"{NOT_COMPUTED}: nobody has rated this yet, open the rating room"


def share_of_pictures(metric: str, sample: Sample, shares: Mapping[str, Share]) -> MetricResult:
    """The share of pictures with the defect, among those that show what could have it.

    With several raters a picture counts for the share of them who saw the defect. The interval is Wilson's over
    pictures; it is wider than need be where raters differ, as a share between 0 and 1 varies less than a yes or no.
    """
    pictures = sample.generated
    rated = {name: shares[name] for name in pictures.names if name in shares}
    if not rated:
        return sample.result(metric, None, n_generated=len(pictures), flags=(NOBODY,))
    values = {name: share.yes / share.seen for name, share in rated.items() if share.seen}
    flags = _flags(len(pictures), len(rated), len(values))
    if not values:
        flags = (f"{NOT_COMPUTED}: raters found nothing to judge in any picture", *flags)
        return sample.result(metric, None, n_generated=len(rated), flags=flags)
    prompts = [prompt for name, prompt in zip(pictures.names, pictures.groups, strict=True) if name in values]
    hits = sum(values.values(), 0.0)
    return sample.result(
        metric,
        hits / len(values),
        n_generated=len(rated),
        interval=wilson(hits, len(values)),
        flags=flags,
        per_prompt=prompt_means(list(values.values()), prompts),
        per_picture=values,
    )


def _flags(drawn: int, rated: int, judged: int) -> tuple[str, ...]:
    flags = []
    if rated < drawn:
        flags.append(f"{count(rated, 'picture')} of {drawn} rated")
    if judged < rated:
        flags.append(f"over {judged} of {rated}: the others show nothing that could have the defect")
    return tuple(flags)
