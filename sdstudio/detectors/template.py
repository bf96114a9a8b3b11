"""The logo itself, held against every place of the picture at several sizes: normalised cross-correlation.

Lewis 1995, Fast Normalized Cross-Correlation. It needs no network and no training, and finds what looks like the given
picture of the logo: upright, about as seen there. It does not know what a logo is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sdstudio.schema import STRICT, Box, Detector, UserError, option
from sdstudio.workspace import typed_path

Array = npt.NDArray[np.float64]
SIDE = 96
"""Larger pictures are looked at in this size: a correlation at every place and size of more takes too long."""
SIZES = (0.25, 0.32, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Sizes of the logo as shares of the picture's shorter side."""
STARTER = "starter"
FLAT = 1e-6


@dataclass(frozen=True, kw_only=True)
class TemplateOptions:
    """The picture of the logo and how alike it must be."""

    __pydantic_config__ = STRICT
    logo: str = option(
        STARTER, "A picture of the logo alone, or 'starter' for the drawn one. See-through parts are free."
    )
    threshold: float = option(0.5, "A correlation below this is not found.", low=0.0, high=1.0, step=0.05)


def load(options: TemplateOptions, device: str) -> Callable[[Sequence[Path]], Iterator[list[Box]]]:
    """A function that gives the best place in each picture file, or none; a UserError where the logo is no picture."""
    logo = _logo(options.logo)

    def find(paths: Sequence[Path]) -> Iterator[list[Box]]:
        for path in paths:
            with Image.open(path) as picture:
                box = best_place(picture.convert("RGB"), logo)
            yield [box] if box is not None and box.score >= options.threshold else []

    return find


def best_place(picture: Image.Image, logo: Image.Image) -> Box | None:
    """Where in the RGB `picture` the RGBA `logo` correlates most; None where it fits nowhere or nothing varies."""
    zoom = min(1.0, SIDE / max(picture.size))
    small = picture.resize((max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom))))
    pixels = np.asarray(small, np.float64).transpose(2, 0, 1)
    best: Box | None = None
    for share in SIZES:
        side = share * min(small.size) / max(logo.size)
        width, height = max(2, round(logo.width * side)), max(2, round(logo.height * side))
        scaled = np.asarray(logo.resize((width, height), Image.Resampling.BOX), np.float64).transpose(2, 0, 1)
        scores = correlation(pixels, scaled[:3], scaled[3] / 255)
        top, left = np.unravel_index(int(scores.argmax()), scores.shape)
        if best is None or scores[top, left] > best.score:
            corners = (left / zoom, top / zoom, (left + width) / zoom, (top + height) / zoom)
            best = _box(float(scores[top, left]), corners)
    return best if best is not None and best.score > 0 else None


def correlation(pixels: Array, pattern: Array, mask: Array) -> Array:
    """Pearson's correlation of `pattern` (C, h, w) with every place of `pixels` (C, H, W): (H−h+1, W−w+1).

    All channels count together, each point with the weight that `mask` (h, w) gives it from 0 to 1. It is 0 where a
    place, or the pattern, does not vary.
    """
    weight = max(len(pixels) * mask.sum(), FLAT)
    centred = (pattern - (pattern * mask).sum() / weight) * mask
    own = (centred * pattern).sum()
    sums = _slide(pixels.sum(0), mask)
    squares = _slide((pixels**2).sum(0), mask)
    products = sum(_slide(channel, one) for channel, one in zip(pixels, centred, strict=True))
    spread = np.maximum(squares - sums**2 / weight, 0) * own
    return np.where(spread > FLAT, products / np.sqrt(np.maximum(spread, FLAT)), 0.0)


def _slide(channel: Array, kernel: Array) -> Array:
    """Σ channel·kernel at every place where the kernel lies inside, by FFT."""
    height, width = channel.shape
    spectrum = np.fft.rfft2(channel) * np.conj(np.fft.rfft2(kernel, (height, width)))
    whole = np.fft.irfft2(spectrum, (height, width))
    return np.asarray(whole[: height - kernel.shape[0] + 1, : width - kernel.shape[1] + 1])


def _box(score: float, corners: tuple[float, float, float, float]) -> Box:
    left, top, right, bottom = map(float, corners)
    return Box(label="logo", score=min(score, 1.0), left=left, top=top, right=right, bottom=bottom)


def _logo(path: str) -> Image.Image:
    if path == STARTER:
        from sdstudio.starter.logo import badge

        return badge(256)
    try:
        with Image.open(typed_path(path)) as picture:
            return picture.convert("RGBA")
    except OSError as error:
        raise UserError(f"The logo {path!r} is not a picture that can be read: give a PNG, JPEG or WebP.") from error


RECORD = Detector(
    name="template",
    label="Picture of the logo",
    summary="Correlates a picture of the logo with every place: no network needed, upright logos only.",
    paper="Lewis 1995, Fast Normalized Cross-Correlation",
    Options=TemplateOptions,
    load=load,
)
