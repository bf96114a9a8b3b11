"""How far raters agree beyond chance."""

from collections import Counter
from collections.abc import Sequence


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """κ of two raters' answers to the same pictures, one pair a picture; None where it is not defined.

    (observed − expected) / (1 − expected) agreement, the expected one from each rater's own shares.
    Cohen 1960, A Coefficient of Agreement for Nominal Scales. It is not defined without pictures, and where both give
    one and the same answer throughout.
    """
    if not pairs:
        return None
    total = len(pairs)
    first, second = (Counter(pair[place] for pair in pairs) for place in (0, 1))
    observed = sum(one == other for one, other in pairs) / total
    expected = sum(first[answer] * second[answer] for answer in first) / total**2
    return (observed - expected) / (1 - expected) if expected < 1 else None


def fleiss_kappa(answers: Sequence[Sequence[str]]) -> float | None:
    """κ of several raters, the answers to each picture in any order; None where it is not defined.

    Pictures may have unequal numbers of raters; those with fewer than two say nothing and are left out. With equal
    numbers it is Fleiss 1971, Measuring Nominal Scale Agreement Among Many Raters; else each picture's agreement is
    weighted by its raters, and the expected one is that of the pooled answers.
    """
    rated = [Counter(given) for given in answers if len(given) > 1]
    total = sum(counts.total() for counts in rated)
    if not total:
        return None
    agreeing = sum(sum(n * (n - 1) for n in counts.values()) / (counts.total() - 1) for counts in rated)
    pooled = sum(rated, Counter())
    observed, expected = agreeing / total, sum((n / total) ** 2 for n in pooled.values())
    return (observed - expected) / (1 - expected) if expected < 1 else None
