"""What every frozen encoder offers, and how a picture file reaches it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from sdstudio.schema import UserError

BATCH = 32
Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ImageFeatures:
    """`pooled` (N, D): what distances are taken of. `embedding` (N, P): of unit length, in the space that pictures and
    texts share; P is 0 where the encoder reads no text."""

    pooled: Array
    embedding: Array


class Encoder(Protocol):
    """A frozen network that looks at pictures, in float32.

    `label` names it in every result, `preprocessing` says how pictures are brought to size, `fingerprint` is a sha256
    that changes with its weights.
    """

    label: str
    preprocessing: str

    @property
    def fingerprint(self) -> str: ...

    def images(self, paths: Sequence[Path]) -> ImageFeatures:
        """Features of picture files, in batches; a UserError names a file that is not a picture."""
        ...


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that reads text too."""

    def truncated(self, texts: Sequence[str]) -> list[str]:
        """Those of `texts` that it cuts."""
        ...

    def texts(self, texts: Sequence[str]) -> Array:
        """Unit embeddings (N, P)."""
        ...


def open_rgb(path: Path) -> Image.Image:
    """The picture in RGB; a UserError that names the file when it cannot be read."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise UserError(f"The picture {path} cannot be read: delete or replace it.") from error


def resized(picture: Image.Image, side: int) -> Array:
    """(3, side, side) from 0 to 255: each channel by PIL's bicubic filter on floats, so that nothing is rounded.

    What is not square is squeezed. Parmar et al. 2022, arXiv:2104.11222, on why this filter.
    """
    channels = [
        np.asarray(Image.fromarray(np.asarray(band, np.float32)).resize((side, side), Image.Resampling.BICUBIC))
        for band in picture.split()
    ]
    return np.asarray(np.clip(np.stack(channels), 0, 255), np.float32)


def default_device() -> str:
    """A GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
