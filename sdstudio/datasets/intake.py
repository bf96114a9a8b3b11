"""Bytes from anywhere -> a checked, upright RGB picture, or one sentence that says why not."""

import ctypes
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from threading import Condition

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from sdstudio.datasets.rewriting import TURNS, JpegTables, png, upright
from sdstudio.datasets.similar import fingerprint
from sdstudio.schema import UserError

MAX_PIXELS = 2**26
MAX_BYTES = 100_000_000
THUMB_SIDE = 256
THUMB_BYTES = 32_768
EXIF_ORIENTATION = 0x0112
_FINGERPRINT_SIDE = 64
_LARGE = 2**22
_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "MPO": "jpg", "WEBP": "webp"}
_JPEG = ("JPEG", "MPO")  # an MPO is a camera's JPEG with a preview behind the picture

NOT_A_PICTURE = "It is not a PNG, JPEG or WebP picture; save it as one of these and add it again."
DAMAGED = "It is damaged or cut short; make a new copy of it and add it again."
TOO_MANY_BYTES = f"It is larger than {MAX_BYTES // 1_000_000} MB; save a smaller copy and add that."


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


class _Room:
    """Memory for pixels, shared by all threads of the process: who finds too little free waits."""

    def __init__(self, pixels: int) -> None:
        self._free = pixels
        self._changed = Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_room = _Room(MAX_PIXELS)


def read_picture(data: bytes, origin: str = "") -> Picture:
    """Check `data` fully and make it fit for storing; a RefusedPicture with the reason when it is refused.

    Bytes that already are an upright RGB picture are stored as they are. A JPEG that EXIF turns is written anew with
    its own quantisation (see `rewriting`); anything else (CMYK, grey, 16 bits, a palette, transparency, a turned PNG
    or WebP) as PNG, without loss; transparent parts become white. `origin` is the sha256 of `data`, if it is known.
    """
    if len(data) > MAX_BYTES:
        raise RefusedPicture(TOO_MANY_BYTES)
    if not (data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or (data[:4], data[8:12]) == (b"RIFF", b"WEBP")):
        raise RefusedPicture(NOT_A_PICTURE)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as opened:
            return _read(opened, data, origin or sha256(data).hexdigest())
    except RefusedPicture:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(1) from error
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise RefusedPicture(DAMAGED) from error


def _read(opened: Image.Image, data: bytes, origin: str) -> Picture:
    kind, pixels = opened.format or "", opened.width * opened.height
    if pixels > MAX_PIXELS:
        raise _too_many_pixels(1)
    frames = getattr(opened, "n_frames", 1)
    if frames > 1 and kind != "MPO":
        raise RefusedPicture(f"It is an animation of {frames} frames; save the frame that you want and add that.")
    orientation = _orientation(opened) if kind != "PNG" or "exif" in opened.info else 1
    needed = pixels * _copies(opened, orientation)
    if needed > MAX_PIXELS:
        raise _too_many_pixels(_copies(opened, orientation))
    with _room.taken(needed) if needed else nullcontext():
        try:
            return _decoded(opened, data, origin, orientation)
        finally:
            opened.close()
            if needed > _LARGE:
                _give_back()


def _decoded(opened: Image.Image, data: bytes, origin: str, orientation: int) -> Picture:
    size = opened.size
    if opened.format in _JPEG and _as_it_is(opened, orientation):
        opened.draft(None, _drafted(size, len(data)))
    opened.load()
    if opened.format == "PNG":
        orientation = _orientation(opened)  # what it says of it may come behind its pixels
    if not _as_it_is(opened, orientation):
        return _rewritten(opened, origin, orientation)
    small = _small(opened, _thumb_size(size))
    return Picture(
        id=origin,
        origin=origin,
        data=data,
        extension=_EXTENSIONS[opened.format or ""],
        width=size[0],
        height=size[1],
        thumb=b"" if is_own_thumb(size, len(data)) else _jpeg(small),
        fingerprint=fingerprint(small),
        turned=False,
    )


def _give_back() -> None:
    """Ask glibc, which keeps the memory of large pictures for each thread that had one, to return it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _rewritten(opened: Image.Image, origin: str, orientation: int) -> Picture:
    turned = orientation in TURNS
    tables = None
    if isinstance(opened, JpegImageFile) and opened.mode == "RGB":
        tables = JpegTables(opened, orientation)
    picture = upright(opened, orientation)
    stored = tables.write(picture) if tables else png(picture)
    small = _small(picture, _thumb_size(picture.size))
    return Picture(
        id=sha256(stored).hexdigest(),
        origin=origin,
        data=stored,
        extension="jpg" if tables else "png",
        width=picture.width,
        height=picture.height,
        thumb=b"" if is_own_thumb(picture.size, len(stored)) else _jpeg(small),
        fingerprint=fingerprint(small),
        turned=turned,
    )


def _as_it_is(opened: Image.Image, orientation: int) -> bool:
    return opened.mode == "RGB" and orientation not in TURNS and not opened.has_transparency_data


def _orientation(opened: Image.Image) -> int:
    """What EXIF says; 1 (upright) where it cannot be read: the picture may be sound all the same."""
    try:
        return int(opened.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def _copies(opened: Image.Image, orientation: int) -> int:
    """How many times a picture's pixels, at 4 bytes each, lie in memory while it is read.

    libwebp holds two canvases beside what it hands out; libjpeg all coefficients of a progressive file, and of any
    other JPEG that is stored as it is next to nothing, as it is decoded at the size of its thumb.
    """
    rewritten = not _as_it_is(opened, orientation)
    if opened.format == "WEBP":
        return 4
    if opened.format == "PNG":
        return 1 + rewritten
    return 2 + rewritten if "progressive" in opened.info else 2 * rewritten


def _too_many_pixels(copies: int) -> RefusedPicture:
    limit = f"{MAX_PIXELS // copies // 1_000_000} million pixels"
    return RefusedPicture(f"It has more than {limit}, the most for one of its kind; save a smaller copy and add that.")


def is_own_thumb(size: tuple[int, int], bytes: int) -> bool:
    """Whether a picture is so small that it is shown as its own thumb."""
    return max(size) <= THUMB_SIDE and bytes <= THUMB_BYTES


def make_thumb(picture: Image.Image) -> bytes:
    """JPEG bytes of `picture`, at most 256 pixels a side, never enlarged (a WebP takes six times as long to write)."""
    return _jpeg(_small(picture, _thumb_size(picture.size)))


def _thumb_size(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, THUMB_SIDE / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def _drafted(size: tuple[int, int], bytes: int) -> tuple[int, int]:
    """The least size at which a JPEG has to be decoded for what is made of it here: its thumb, or its fingerprint."""
    return (_FINGERPRINT_SIDE, _FINGERPRINT_SIDE) if is_own_thumb(size, bytes) else _thumb_size(size)


def _small(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if picture.width <= size[0] and picture.height <= size[1]:
        return picture
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.0)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
