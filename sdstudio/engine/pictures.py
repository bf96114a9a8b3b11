"""A picture as it enters training: fitted to its size by bicubic resampling, and changed at random where asked."""

import math
import random
from dataclasses import dataclass

import numpy
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from sdstudio.datasets import fit
from sdstudio.families.loading import PictureSize
from sdstudio.schema import LoopConfig

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class Change:
    """What is done to a picture beside fitting it.

    `enlarged` is the share by which it is made larger, `shift` where the crop then lies, each in −½…½ of that margin;
    `colours` are the factors of brightness, contrast and saturation; `angle` is in degrees, `zoom` a factor.
    """

    flip: bool = False
    enlarged: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    colours: tuple[float, float, float] = (1.0, 1.0, 1.0)
    angle: float = 0.0
    zoom: float = 1.0


UNCHANGED = Change()


def is_random(loop: LoopConfig) -> bool:
    """True when pictures change at random, beyond being mirrored."""
    return bool(loop.crop_jitter or loop.colour_jitter or loop.rotation)


def change(loop: LoopConfig, variant: int, seed: int) -> Change:
    """Variant `variant` of a picture whose own `seed` tells it from others: every second is mirrored if asked."""
    flip = loop.flip and variant % 2 == 1
    if not is_random(loop):
        return Change(flip=flip)
    draw = random.Random(f"{seed} {variant}").uniform
    shift = draw(-0.5, 0.5), draw(-0.5, 0.5)
    brightness, contrast, saturation = (1 + draw(-1, 1) * loop.colour_jitter for _ in range(3))
    return Change(
        flip=flip,
        enlarged=loop.crop_jitter,
        shift=shift,
        colours=(brightness, contrast, saturation),
        angle=draw(-1, 1) * loop.rotation,
        zoom=1 + draw(-1, 1) * loop.rotation / 100,
    )


def target_size(size: Size, choice: str, side: int) -> Size:
    """The size that a picture of `size` is trained at: square, or for the fit 'none' its bucket's."""
    return fit.bucket(*size, side) if choice == "none" else (side, side)


def fitted(
    picture: Image.Image, choice: str, size: Size, changed: Change = UNCHANGED
) -> tuple[Image.Image, PictureSize]:
    """An RGB picture at `size`, by the fit `choice` (see `datasets.fit`), with what a model may know of its crop."""
    original = picture.height, picture.width
    if choice in ("white", "blur"):
        picture, choice = fit.apply(picture, choice, math.ceil(max(size) * (1 + changed.enlarged))), fit.CENTRE
    place = fit.offset(picture, choice)
    scale = max(size[0] / picture.width, size[1] / picture.height) * (1 + changed.enlarged)
    wide, high = max(size[0], round(picture.width * scale)), max(size[1], round(picture.height * scale))
    resized = picture.resize((wide, high), Image.Resampling.BICUBIC)
    lengthwise = picture.width > picture.height
    left = _begin(wide, size[0], place if lengthwise else 0.5, changed.shift[0] * changed.enlarged)
    top = _begin(high, size[1], 0.5 if lengthwise else place, changed.shift[1] * changed.enlarged)
    crop = _turned(resized.crop((left, top, left + size[0], top + size[1])), changed)
    for enhance, factor in zip(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), changed.colours, strict=True
    ):
        if factor != 1:
            crop = enhance(crop).enhance(factor)
    known = PictureSize(original=original, crop=(top, left), target=(size[1], size[0]))
    return (ImageOps.mirror(crop) if changed.flip else crop), known


def _begin(length: int, kept: int, place: float, shift: float) -> int:
    """Where a crop of `kept` pixels begins: `place` of the room there is, moved by `shift` of its own length."""
    room = length - kept
    return min(room, max(0, round(room * place + kept * shift)))


def _turned(picture: Image.Image, changed: Change) -> Image.Image:
    """Turned and zoomed about its middle, its edges continued by their mirror image."""
    if not changed.angle and changed.zoom == 1:
        return picture
    width, height = picture.size
    margin = max(width, height) // 2
    padded = Image.fromarray(
        numpy.pad(numpy.asarray(picture), ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    )
    middle = padded.width / 2, padded.height / 2
    cos, sin = (f(math.radians(changed.angle)) / changed.zoom for f in (math.cos, math.sin))
    matrix = (
        cos, sin, middle[0] - cos * width / 2 - sin * height / 2,
        -sin, cos, middle[1] + sin * width / 2 - cos * height / 2,
    )  # fmt: skip
    return padded.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def to_tensor(picture: Image.Image) -> Tensor:
    """RGB picture -> (3, H, W) float32 in −1…1."""
    return torch.from_numpy(numpy.array(picture, dtype=numpy.float32)).permute(2, 0, 1) / 127.5 - 1
