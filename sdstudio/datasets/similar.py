"""Near-duplicate pictures: a fingerprint of 9 x 8 pixels for each, and groups of those that all but agree.

Two pictures are near-duplicates when their difference hashes (Krawetz 2013, "Kind of Like That") differ in at most
`MAX_BITS` of 64 bits and their fingerprints in at most `MAX_COLOUR` of 255 per value, which tells apart what has one
shape in two colours. Candidates share one of `MAX_BITS + 1` bands of the hash (by the pigeonhole principle every pair
does) and are compared in the order of their brightness with at most `WINDOW` neighbours each (the sorted-neighbourhood
method, Hernández and Stolfo 1995): the work grows with the number of pictures, not with its square.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 9, 8
SIZE = WIDTH * HEIGHT * 3
MAX_BITS = 4
MAX_COLOUR = 10.0
WINDOW = 64
_FLAT = 2.0
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_CHUNK = 1 << 16


def fingerprint(picture: Image.Image) -> bytes:
    """9 x 8 RGB pixels, row by row (216 bytes). `picture` is upright and RGB."""
    return picture.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BOX).tobytes()


def hashes(fingerprints: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(N, 216) -> N difference hashes: a bit for each pixel that is darker than its right neighbour."""
    grey = fingerprints.reshape(-1, HEIGHT, WIDTH, 3).astype(np.float32) @ _LUMA
    rises = (grey[:, :, 1:] - grey[:, :, :-1]) > _FLAT
    return np.packbits(rises.reshape(len(rises), -1), axis=1).view(">u8")[:, 0].astype(np.uint64)


def groups(fingerprints: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, 216) -> N group numbers; −1 for a picture without a near-duplicate.

    A group is what near-duplicate pairs connect; its number is the index of its first picture.
    """
    distinct, first, which = np.unique(fingerprints, axis=0, return_index=True, return_inverse=True)
    roots = np.arange(len(distinct))
    for left, right in _candidates(distinct):
        apart = roots[left] != roots[right]
        left, right = left[apart], right[apart]
        difference = np.abs(distinct[left].astype(np.int16) - distinct[right]).mean(axis=1)
        close = difference <= MAX_COLOUR
        roots = _joined(roots, left[close], right[close])
    earliest = np.full(len(distinct), len(fingerprints), dtype=np.int64)
    np.minimum.at(earliest, roots, first)
    numbers = earliest[roots][which]
    alone = np.bincount(numbers, minlength=len(fingerprints))[numbers] < 2
    return np.where(alone, -1, numbers)


def _candidates(fingerprints: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs whose hashes agree and whose brightness is close, as two arrays of indices, a part at a time."""
    codes = hashes(fingerprints)
    brightness = fingerprints.mean(axis=1, dtype=np.float32)
    for band in range(MAX_BITS + 1):
        bits = sum(1 << bit for bit in range(band, 64, MAX_BITS + 1))  # spread, so that a flat corner fills no band
        keys = codes & np.uint64(bits)
        order = np.lexsort((brightness, keys))
        active = np.arange(len(order))
        for step in range(1, WINDOW + 1):
            active = active[active + step < len(order)]
            left, right = order[active], order[active + step]
            close = (keys[left] == keys[right]) & (brightness[right] - brightness[left] <= MAX_COLOUR)
            active, left, right = active[close], left[close], right[close]
            if not len(active):
                break
            alike = np.bitwise_count(codes[left] ^ codes[right]) <= MAX_BITS
            left, right = left[alike], right[alike]
            for start in range(0, len(left), _CHUNK):
                yield left[start : start + _CHUNK], right[start : start + _CHUNK]


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
