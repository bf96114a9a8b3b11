"""Where pictures lie: principal components and k-means, as far as the shift of a distribution needs them."""

import numpy as np

from sdstudio.metrics.sample import Array

STARTS = 8
ROUNDS = 100


def principal_components(features: Array, count: int) -> Array:
    """Coordinates (N, count) along the directions of largest variance; fewer where N − 1 or D is smaller.

    Each direction's sign is such that its largest coordinate is positive.
    """
    centred = np.asarray(features, np.float64) - np.mean(features, axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = (left * sizes)[:, : min(count, len(features) - 1, features.shape[1])]
    signs = np.sign(points[np.abs(points).argmax(0), np.arange(points.shape[1])])
    return np.asarray(points * np.where(signs == 0, 1, signs))


def k_means(points: Array, count: int, seed: int = 0) -> np.ndarray:
    """The cluster (N,) of each of the points (N, D), from 0 to count − 1: the best of a few starts.

    Lloyd's algorithm from the seeding of Arthur and Vassilvitskii 2007, k-means++. There are fewer clusters where
    fewer points differ.
    """
    rng = np.random.default_rng(seed)
    best, least = np.zeros(len(points), int), np.inf
    for _ in range(STARTS):
        centres = _seeded(points, count, rng)
        for _ in range(ROUNDS):
            nearest = _distances(points, centres).argmin(1)
            moved = np.stack(
                [points[nearest == k].mean(0) if (nearest == k).any() else c for k, c in enumerate(centres)]
            )
            if np.allclose(moved, centres):
                break
            centres = moved
        spread = _distances(points, centres).min(1).sum()
        if spread < least:
            best, least = nearest, spread
    return best


def _seeded(points: Array, count: int, rng: np.random.Generator) -> Array:
    centres = points[rng.integers(len(points))][None]
    while len(centres) < count:
        away = _distances(points, centres).min(1)
        if not away.sum():
            break
        centres = np.concatenate([centres, points[rng.choice(len(points), p=away / away.sum())][None]])
    return np.asarray(centres)


def _distances(points: Array, centres: Array) -> Array:
    """Squared distances (N, K)."""
    return np.asarray(((points[:, None] - centres[None]) ** 2).sum(2))
