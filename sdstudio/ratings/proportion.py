"""Shares of rated pictures, with an interval that holds for few and for rare ones."""

import math
from statistics import NormalDist

from sdstudio.metrics.statistics import CONFIDENCE


def wilson(hits: float, rated: int) -> tuple[float, float] | None:
    """The 95% score interval of a share of `hits` in `rated`; None where nothing was rated.

    Where several raters share in a hit it counts for their share.

    Wilson 1927, Probable Inference, JASA 22.
    """
    if not rated:
        return None
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, spread = hits / rated, z**2 / rated
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / rated + spread / (4 * rated)) / (1 + spread)
    return max(centre - half, 0.0), min(centre + half, 1.0)
