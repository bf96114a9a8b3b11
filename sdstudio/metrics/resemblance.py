"""Cosines between pictures, where an encoder has no space that it shares with text."""

import numpy as np

from sdstudio.metrics.sample import Array, Measured, Pictures, mean_over_prompts


def cosines(first: Array, second: Array) -> Array:
    """The cosine of every pair: (N₁, D), (N₂, D) → (N₁, N₂), in float64."""
    one, other = (np.asarray(features, np.float64) for features in (first, second))
    return np.asarray(_unit(one) @ _unit(other).T)


def mean_cosine(drawn: Pictures, real: Pictures) -> Measured:
    """The mean over all pairs, averaged first within and then over prompts."""
    return mean_over_prompts(cosines(drawn.pooled, real.pooled).mean(1), drawn)


def _unit(features: Array) -> Array:
    return np.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))
