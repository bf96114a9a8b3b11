"""Room for features that may be larger than memory."""

import tempfile
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

LIMIT = 1 << 30
"""Bytes; what is larger lies in a temporary file, which goes when it is no longer used."""
_ROWS = 64


def room(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """An array of float32 to be filled: in memory, or mapped from a temporary file beyond LIMIT bytes."""
    if prod(shape) * 4 <= LIMIT:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


def rows(features: npt.NDArray[Any], places: Sequence[int] | npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """The rows of `features` at `places`, mapped from a file where they are too many for memory."""
    if len(places) * features[:1].nbytes <= LIMIT:
        return np.asarray(features[places])
    taken = room((len(places), features.shape[1]))
    for place, source in enumerate(places):
        taken[place] = features[source]
    return taken


def all_finite(features: npt.NDArray[Any]) -> bool:
    """Whether no value is NaN or infinite; a few rows at a time."""
    return all(np.isfinite(features[start : start + _ROWS]).all() for start in range(0, len(features), _ROWS))
