"""LPIPS between sets of pictures, from their vectors φ: ‖φ(x) − φ(y)‖² (see features.lpips)."""

import numpy as np

from sdstudio.metrics.neighbours import squared_distances
from sdstudio.metrics.sample import Array

_ELEMENTS = 1 << 23


def lpips_between(first: Array, second: Array) -> Array:
    """The distance of every pair: (N₁, D), (N₂, D) → (N₁, N₂), in float64; by blocks of columns, as D is large."""
    squares = np.zeros((len(first), len(second)))
    columns = max(_ELEMENTS // max(len(first), len(second), 1), 1)
    for start in range(0, first.shape[1], columns):
        squares += squared_distances(*(part[:, start : start + columns] for part in (first, second)))
    return squares
