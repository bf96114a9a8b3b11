"""Bytes from anywhere -> a checked, upright RGB picture, or one sentence that says why not."""

import io
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from PIL import Image, ImageOps

from sdstudio.datasets.similar import fingerprint
from sdstudio.schema import UserError

MAX_PIXELS = 2**26
MAX_BYTES = 200_000_000
THUMB_SIDE = 256
THUMB_BYTES = 32_768
EXIF_ORIENTATION = 0x0112
_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp"}

NOT_A_PICTURE = "It is not a PNG, JPEG or WebP picture; save it as one of these and add it again."
DAMAGED = "It is damaged or cut short; make a new copy of it and add it again."
TOO_MANY_BYTES = f"It is larger than {MAX_BYTES // 1_000_000} MB; save a smaller copy and add that."
TOO_MANY_PIXELS = f"It has more than {MAX_PIXELS // 1_000_000} million pixels; save a smaller copy and add that."


class RefusedPicture(UserError):
    """The bytes are not a picture that a dataset can hold."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as it is stored: upright, RGB, one frame.

    `id` is the sha256 of `data`, `origin` the sha256 of the bytes that came in, `thumb` a JPEG of at most 256 pixels
    a side, empty where the picture itself is as small. `turned` says that EXIF asked to turn it, `fingerprint` is
    what near-duplicates are found by (see `similar`).
    """

    id: str
    origin: str
    data: bytes
    extension: str
    width: int
    height: int
    thumb: bytes
    fingerprint: bytes
    turned: bool


def read_picture(data: bytes) -> Picture:
    """Check `data` fully and make it fit for storing; a RefusedPicture with the reason when it is refused.

    Bytes that already are an upright RGB picture are stored as they are. Anything else (turned by EXIF, CMYK, grey,
    16 bits, a palette, transparency) is written anew as PNG, without loss; transparent parts become white.
    """
    if len(data) > MAX_BYTES:
        raise RefusedPicture(TOO_MANY_BYTES)
    if not (data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or (data[:4], data[8:12]) == (b"RIFF", b"WEBP")):
        raise RefusedPicture(NOT_A_PICTURE)
    origin = sha256(data).hexdigest()
    try:
        return _read(data, origin)
    except RefusedPicture:
        raise
    except Image.DecompressionBombError as error:
        raise RefusedPicture(TOO_MANY_PIXELS) from error
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise RefusedPicture(DAMAGED) from error


def _read(data: bytes, origin: str) -> Picture:
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise RefusedPicture(TOO_MANY_PIXELS)
        kind = opened.format or ""
        frames = getattr(opened, "n_frames", 1)
        if frames > 1 and kind != "MPO":  # an MPO is a camera's JPEG with a preview behind the picture
            raise RefusedPicture(f"It is an animation of {frames} frames; save the frame that you want and add that.")
        opened.load()
        turned = opened.getexif().get(EXIF_ORIENTATION, 1) in range(2, 9)
        as_it_is = opened.mode == "RGB" and not turned and not opened.has_transparency_data
        picture: Image.Image = opened if as_it_is else _to_rgb(ImageOps.exif_transpose(opened))
        stored = data if as_it_is else _png(picture)
        small = _small(picture)
        return Picture(
            id=origin if as_it_is else sha256(stored).hexdigest(),
            origin=origin,
            data=stored,
            extension=_EXTENSIONS[kind] if as_it_is else "png",
            width=picture.width,
            height=picture.height,
            thumb=b"" if is_own_thumb(picture.size, len(stored)) else _jpeg(small),
            fingerprint=fingerprint(small),
            turned=turned,
        )


def _to_rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB, transparency over white; keeps an ICC profile only while it still describes the channels."""
    profile = picture.info.get("icc_profile") if picture.mode in ("RGB", "RGBA", "P") else None
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        canvas = Image.new("RGB", picture.size, "white")
        canvas.paste(picture, mask=picture.getchannel("A"))
        picture = canvas
    picture = picture.convert("RGB")
    picture.info = {"icc_profile": profile} if profile else {}
    return picture


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def is_own_thumb(size: tuple[int, int], bytes: int) -> bool:
    """Whether a picture is so small that it is shown as its own thumb."""
    return max(size) <= THUMB_SIDE and bytes <= THUMB_BYTES


def make_thumb(picture: Image.Image) -> bytes:
    """JPEG bytes of `picture`, at most 256 pixels a side, never enlarged (a WebP takes six times as long to write)."""
    return _jpeg(_small(picture))


def _small(picture: Image.Image) -> Image.Image:
    scale = THUMB_SIDE / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=1.0)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
