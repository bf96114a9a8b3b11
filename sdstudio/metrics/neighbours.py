"""Balls around pictures, as wide as the way to the k-th neighbour: what precision, recall and their kin count in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sdstudio.metrics.sample import Array

_ROWS = 128


def squared_distances(first: Array, second: Array) -> Array:
    """‖x − y‖² of every pair: (N₁, D), (N₂, D) → (N₁, N₂), in float64."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    squares = np.sum(first**2, 1)[:, None] + np.sum(second**2, 1)[None] - 2 * first @ second.T
    return np.asarray(np.maximum(squares, 0))


def distances(first: Array, second: Array) -> Array:
    """Euclidean distances of every pair: (N₁, D), (N₂, D) → (N₁, N₂), in float64."""
    return np.asarray(np.sqrt(squared_distances(first, second)))


def radii(features: Array, k: int) -> Array:
    """The distance of each of N > k pictures to its k-th nearest other one: (N, D) → (N,)."""

    everything = np.asarray(features, np.float64)

    def widest(block: Array) -> Array:
        return np.array(np.partition(distances(block, everything), k, axis=1)[:, k])  # a copy: a view keeps it all

    return in_blocks(everything, widest)


def balls_hit(centres: Array, radius: Array, points: Array) -> npt.NDArray[np.int64]:
    """In how many balls each point lies, on the rim included: (N₁, D), (N₁,), (N₂, D) → (N₂,)."""
    centres = np.asarray(centres, np.float64)
    return in_blocks(points, lambda block: np.sum(distances(block, centres) <= radius, axis=1))


def nearest(first: Array, second: Array) -> Array:
    """The distance of each of `first` to the nearest of `second`: (N₁, D), (N₂, D) → (N₁,)."""
    second = np.asarray(second, np.float64)
    return in_blocks(first, lambda block: distances(block, second).min(1))


def in_blocks(features: Array, work: Callable[[Array], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """`work` over blocks of rows, so that the matrix of all pairs is never in memory."""
    return np.concatenate([work(features[start : start + _ROWS]) for start in range(0, len(features), _ROWS)])
