"""Near-duplicate pictures: a fingerprint of 9 x 8 pixels for each, and groups of those that all but agree.

Two pictures are near-duplicates when their fingerprints differ by at most `MAX_DIFFERENCE` (root mean square, of 255).
Copies that were resized, recompressed, cut by 2% or brightened by 4% stay below it; in the drawn world other pictures
begin at 24. A mirrored copy is another picture.

Candidates lie in the same or a neighbouring cell of a grid over the `_GRID` directions in which the fingerprints
spread most. Projection makes no distance longer, so no pair is missed, and only neighbours are compared. Where a cell
is crowded each picture meets `WINDOW` others of it, nearest first along one more direction (the sorted neighbourhood
of Hernández and Stolfo 1995): a hundred thousand frames of one scene still become one group, at bounded cost.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 9, 8
SIZE = WIDTH * HEIGHT * 3
MAX_DIFFERENCE = 10.0
WINDOW = 32
_RADIUS = MAX_DIFFERENCE * SIZE**0.5
_GRID, _AXES = 5, 8
_SAMPLE = 5_000
_CHUNK = 1 << 16

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]


def fingerprint(picture: Image.Image) -> bytes:
    """9 x 8 RGB pixels, row by row (216 bytes), each the mean of its part of the picture."""
    rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
    return rgb.resize((WIDTH, HEIGHT), Image.Resampling.BOX).tobytes()


def groups(fingerprints: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, 216) -> N group numbers; −1 for a picture without a near-duplicate.

    A group is what near-duplicate pairs connect; its number is the index of its first picture.
    """
    if not len(fingerprints):
        return np.empty(0, dtype=np.int64)
    distinct, first, which = np.unique(fingerprints, axis=0, return_index=True, return_inverse=True)
    roots = np.arange(len(distinct))
    for left, right in _candidates(distinct):
        apart = roots[left] != roots[right]
        left, right = left[apart], right[apart]
        difference = distinct[left].astype(np.float32) - distinct[right]
        close = np.einsum("ij,ij->i", difference, difference) <= _RADIUS**2
        roots = _joined(roots, left[close], right[close])
    earliest = np.full(len(distinct), len(fingerprints), dtype=np.int64)
    np.minimum.at(earliest, roots, first)
    numbers = earliest[roots][which]
    alone = np.bincount(numbers, minlength=len(fingerprints))[numbers] < 2
    return np.where(alone, -1, numbers)


def pairs_with(new: NDArray[np.uint8], fingerprints: NDArray[np.uint8]) -> Pairs:
    """Near-duplicates of a few: indices into `new` (M, 216) and `fingerprints` (N, 216), each pair once."""
    wide = fingerprints.astype(np.float32)
    norms = np.einsum("ij,ij->i", wide, wide)
    found = []
    for index, one in enumerate(new.astype(np.float32)):
        close = np.flatnonzero(norms - 2 * (wide @ one) + one @ one <= _RADIUS**2)
        found.append((np.full(len(close), index), close))
    return np.concatenate([left for left, _ in found]), np.concatenate([right for _, right in found])


def _candidates(fingerprints: NDArray[np.uint8]) -> Iterator[Pairs]:
    """Pairs that may be near-duplicates, each once, as two arrays of indices, a part at a time."""
    places = _projected(fingerprints)
    cells = np.floor(places[:, :_GRID] / _RADIUS).astype(np.int64)
    cells -= cells.min(axis=0) - 1
    strides = np.cumprod([1, *(cells.max(axis=0) + 2)[:-1]])
    keys = cells @ strides
    order = np.lexsort((places[:, _GRID], keys))
    keys = keys[order]
    for move in product((-1, 0, 1), repeat=_GRID):
        shift = int(np.dot(move, strides))
        if shift < 0:
            continue
        start = np.searchsorted(keys, keys + shift, "left") if shift else np.arange(1, len(keys) + 1)
        end = np.searchsorted(keys, keys + shift, "right")
        active = np.flatnonzero(start < end)
        for step in range(WINDOW):
            active = active[start[active] + step < end[active]]
            if not len(active):
                break
            left, right = order[active], order[start[active] + step]
            difference = places[left] - places[right]
            close = np.einsum("ij,ij->i", difference, difference) <= _RADIUS**2 * 1.0001  # rounding
            left, right = left[close], right[close]
            for part in range(0, len(left), _CHUNK):
                yield left[part : part + _CHUNK], right[part : part + _CHUNK]


def _projected(fingerprints: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 216) -> (N, 8) coordinates along orthogonal directions, those of the greatest spread first."""
    some = fingerprints[:: max(1, len(fingerprints) // _SAMPLE)].astype(np.float32)
    mean = some.mean(axis=0)
    _, directions = np.linalg.eigh((some - mean).T @ (some - mean))
    axes = directions[:, ::-1][:, :_AXES]
    places: NDArray[np.float32] = (fingerprints.astype(np.float32) - mean) @ axes
    return places


def _joined(roots: NDArray[np.intp], left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.intp]:
    """`roots` (the smallest index of each one's group) after each pair's two groups became one."""
    while len(left):
        one, other = roots[left], roots[right]
        apart = one != other
        left, right, one, other = left[apart], right[apart], one[apart], other[apart]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(roots, above := roots[roots]):
            roots = above
    return roots
