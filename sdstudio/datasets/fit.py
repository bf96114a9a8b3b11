"""How a picture of any shape becomes what a model is trained on. The stored picture stays as it is.

The smart crop looks for detail and colour: on a small copy it adds up brightness gradients and saturation, and keeps
the square with most of it, near the centre where that is a tie. It knows nothing of faces or meaning: a busy
background draws it away from a plain subject; look at the preview.
"""

import math
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from sdstudio.schema import UserError

CENTRE = "centre"
CHOICES = {
    CENTRE: "Crop to the centre",
    "smart": "Crop to the most detail and colour",
    "face": "Crop to the face",
    "white": "Keep all, with a white border",
    "blur": "Keep all, with a blurred border",
    "none": "Keep the shape, in size buckets",
}
NO_FACES = (
    "The face crop needs OpenCV 4, which is not installed; "
    "run `pip install 'opencv-python-headless<5'` or choose another fit."
)
_FADED = 70
_SMALL = 128
_FACE_SIDE = 640
_SATURATION = 0.1
_CENTRE_PULL = 0.05
_WIDEST = 4.0
_one_at_a_time = Lock()


def apply(picture: Image.Image, choice: str, side: int) -> Image.Image:
    """`picture` made ready for training: RGB, `side` x `side` pixels, or for 'none' the size of its `bucket`.

    A UserError for an unknown choice, and for 'face' where no face detector is installed.
    """
    check(choice)
    picture = picture.convert("RGB")
    if choice in ("white", "blur"):
        return _bordered(picture, side, blurred=choice == "blur")
    width, height = bucket(*picture.size, side) if choice == "none" else (side, side)
    scale = max(width / picture.width, height / picture.height)
    resized = picture.resize(
        (max(width, round(picture.width * scale)), max(height, round(picture.height * scale))),
        Image.Resampling.LANCZOS,
    )
    place = offset(picture, choice)
    left, top = int((resized.width - width) * place), int((resized.height - height) * place)
    return resized.crop((left, top, left + width, top + height))


def window(picture: Image.Image, choice: str, side: int = 512) -> tuple[int, int, int, int]:
    """The part of `picture` that stays, as (left, top, right, bottom) in its pixels; all of it for a border."""
    check(choice)
    if choice in ("white", "blur"):
        return (0, 0, *picture.size)
    width, height = bucket(*picture.size, side) if choice == "none" else (1, 1)
    scale = min(picture.width / width, picture.height / height)
    wide, high = round(width * scale), round(height * scale)
    place = offset(picture, choice)
    left, top = int((picture.width - wide) * place), int((picture.height - high) * place)
    return left, top, left + wide, top + high


def preview(picture: Image.Image, choice: str, side: int) -> Image.Image:
    """`side` x `side` pixels, RGBA: the whole picture with what a crop cuts off faded, or with the border it gets."""
    if choice in ("white", "blur"):
        return apply(picture, choice, side).convert("RGBA")
    kept = window(picture, choice)
    faded = picture.convert("RGBA")
    faded.putalpha(_FADED)
    faded.paste(picture.convert("RGBA").crop(kept), kept[:2])
    return ImageOps.pad(faded, (side, side), Image.Resampling.LANCZOS)


def offset(picture: Image.Image, choice: str) -> float:
    """Where the crop lies along the longer side: 0 at its beginning, 0.5 in the middle, 1 at its end.

    'face' lies around the faces, the larger ones more, and is as 'smart' where none is found.
    """
    boxes = faces(picture) if choice == "face" else []
    if choice == "smart" or (choice == "face" and not boxes):
        return _most_detail(picture)
    side, length = min(picture.size), max(picture.size)
    if not boxes or side == length:
        return 0.5
    axis = 0 if picture.width > picture.height else 1
    areas = [box[2] * box[3] for box in boxes]
    centre = sum((box[axis] + box[axis + 2] / 2) * area for box, area in zip(boxes, areas, strict=True)) / sum(areas)
    return min(1.0, max(0.0, (centre - side / 2) / (length - side)))


def lost(width: int, height: int, choice: str, side: int) -> float:
    """The share of a picture's area that `choice` cuts off."""
    if choice in ("white", "blur"):
        return 0.0
    wide, high = bucket(width, height, side) if choice == "none" else (1, 1)
    shape, wanted = width / height, wide / high
    return 1.0 - min(shape, wanted) / max(shape, wanted)


def bucket(width: int, height: int, side: int) -> tuple[int, int]:
    """The size nearest to the picture's shape with about side² pixels, in steps of 64 (8 below 512); at most 4 : 1."""
    step = 64 if side >= 512 else 8
    shape = math.sqrt(min(_WIDEST, max(1 / _WIDEST, width / height)))
    return max(step, round(side * shape / step) * step), max(step, round(side / shape / step) * step)


def check(choice: str) -> None:
    """A UserError when there is no such choice or this machine cannot do it."""
    if choice not in CHOICES:
        raise UserError(f"There is no fit {choice!r}; choose one of {', '.join(CHOICES)}.")
    if choice == "face" and not faces_can_be_found():
        raise UserError(NO_FACES)


def faces_can_be_found() -> bool:
    """Whether a face detector (that of OpenCV 4, which is optional) is installed."""
    return _cascade() is not None


def _bordered(picture: Image.Image, side: int, blurred: bool) -> Image.Image:
    scale = side / max(picture.size)
    small = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
    )
    canvas = (
        apply(picture, CENTRE, side).filter(ImageFilter.GaussianBlur(side / 16))
        if blurred
        else Image.new("RGB", (side, side), "white")
    )
    canvas.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return canvas


def _most_detail(picture: Image.Image) -> float:
    small = picture.convert("RGB")
    small.thumbnail((_SMALL, _SMALL), Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float32)
    if picture.height > picture.width:
        pixels = pixels.transpose(1, 0, 2)
    side, length = pixels.shape[:2]
    if length - side < 1 or side < 2:
        return 0.5
    profile = _energy(pixels).sum(axis=0)
    sums = np.concatenate([[0.0], np.cumsum(profile, dtype=np.float64)])
    kept = sums[side:] - sums[:-side]
    places = np.linspace(0.0, 1.0, len(kept))
    best = int(np.argmax(kept * (1 - _CENTRE_PULL * np.abs(places - 0.5)) - 1e-6 * np.abs(places - 0.5)))
    return float(places[best])


def _energy(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) in 0…255 -> (H, W): brightness gradients and a little of the saturation."""
    grey = pixels.mean(axis=2)
    down, across = np.gradient(grey)
    saturation = pixels.max(axis=2) - pixels.min(axis=2)
    energy: NDArray[np.float32] = np.abs(down) + np.abs(across) + _SATURATION * saturation
    return energy


def faces(picture: Image.Image) -> list[tuple[int, ...]]:
    """Boxes (left, top, width, height) of the upright frontal faces that a Haar cascade finds.

    Viola and Jones 2001, https://doi.org/10.1109/CVPR.2001.990517. It looks at a copy of at most 640 pixels a side and
    misses faces smaller than a twelfth of the picture, in profile, or tilted by more than some 20 degrees.
    """
    small = picture.convert("L")
    small.thumbnail((_FACE_SIDE, _FACE_SIDE), Image.Resampling.BOX)
    least = max(20, min(small.size) // 12)
    with _one_at_a_time:  # OpenCV's detector keeps what it works on inside itself
        found = _cascade().detectMultiScale(np.asarray(small), scaleFactor=1.1, minNeighbors=5, minSize=(least, least))
    scale = picture.width / small.width
    return [tuple(round(float(edge) * scale) for edge in box) for box in found]


@cache
def _cascade() -> Any:
    """OpenCV's detector of frontal faces; None where it is not installed (OpenCV 5 comes without it)."""
    try:
        import cv2
        from cv2.data import haarcascades

        cascade = cv2.CascadeClassifier(haarcascades + "haarcascade_frontalface_default.xml")
    except (ImportError, AttributeError):
        return None
    return None if cascade.empty() else cascade
