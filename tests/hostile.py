"""Files that an import has to survive: damaged, mislabelled, enormous, oddly coloured, oddly named, led elsewhere."""

import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

Files = list[tuple[str, bytes]]
Random = random.Random
ORIENTATION = 0x0112


def write_hostile(folder: Path, count: int, elsewhere: Path, seed: int = 0) -> int:
    """Fill `folder` with `count` files that an import looks at as pictures, and as many kinds of other entries.

    `elsewhere` is a folder that links lead to. Returns how many the import has to account for, one by one.
    """
    chosen = random.Random(seed)
    names = ("deep" + "/er" * 20, "10_token class", "ünï cödé \u202e\U0001f600")
    places = [folder, *(folder / name for name in names)]
    for place in places:
        place.mkdir(parents=True)
    kinds = list(KINDS)
    for number in range(count):
        suffix, data = kinds[number % len(kinds)](chosen)
        place = chosen.choice(places)
        (place / odd_name(chosen, number, suffix)).write_bytes(data)
    for name, data in COMPANIONS:
        (folder / name).write_bytes(data)
    return count + _links(folder, elsewhere)


def _links(folder: Path, elsewhere: Path) -> int:
    """Links and what is no file; returns how many entries that are."""
    (folder / "to-a-picture.png").symlink_to(elsewhere / "picture.png")
    (folder / "to-nothing.png").symlink_to(elsewhere / "nothing.png")
    (folder / "to-itself.png").symlink_to(folder / "to-itself.png")
    (folder / "to-a-folder").symlink_to(elsewhere)
    (folder / "to-above").symlink_to("..")
    (folder / "device.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "fifo.png")
    (folder / "folder.png").mkdir()
    return 7


def odd_name(chosen: Random, number: int, suffix: str) -> str:
    """A name that no other number gives; one in three is as odd as a file system allows."""
    odd = (
        "line\nbreak\x07\x1b[31m", "x" * 240, "-rf", "$(touch pwned)", "a|b;c&d", "<img src=x>", " lead",
        "..dots", "name.png", "\u202egnp", "e\u0301", "\U0001f600", os.fsdecode(b"\xff\xfe"), "CON", "100%s%n", "'\"`",
    )  # fmt: skip
    word = chosen.choice(odd) if number % 3 == 0 else "file"
    return f"{number}{word}"[: 250 - len(suffix)] + suffix


# ---------------------------------------------------------------- sound pictures, to be spoiled


def encoded(picture: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


@cache
def sources() -> Files:
    """Pictures in every mode and encoding, each sound by itself."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    rgb = Image.fromarray(noise).resize((96, 72), Image.Resampling.BICUBIC)
    clear = rgb.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    sixteen = Image.fromarray(np.linspace(0, 65535, 96 * 72).reshape(72, 96).astype(np.uint16))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    files: Files = [(".png", encoded(rgb.convert(mode), "PNG")) for mode in ("RGB", "L", "LA", "P", "1")]
    files += [(".jpg", encoded(rgb.convert(mode), "JPEG")) for mode in ("RGB", "L", "CMYK")]
    files += [(".jpg", encoded(rgb, "JPEG", subsampling=sampling)) for sampling in (0, 1, 2)]
    files += [
        (".jpg", encoded(rgb, "JPEG", progressive=True)),
        (".jpg", encoded(rgb.convert("CMYK"), "JPEG", progressive=True)),
        (".jpg", encoded(rgb, "JPEG", exif=exif)),
        (".jpg", encoded(rgb, "JPEG", icc_profile=profile)),
        (".jpg", encoded(rgb, "MPO", **frames)),
        (".png", encoded(clear, "PNG")),
        (".png", encoded(clear.quantize(), "PNG")),
        (".png", encoded(rgb, "PNG", transparency=(1, 2, 3), icc_profile=profile, exif=exif)),
        (".png", encoded(sixteen, "PNG")),
        (".png", encoded(rgb, "PNG", **frames)),
        (".webp", encoded(rgb, "WEBP")),
        (".webp", encoded(clear, "WEBP", lossless=True, exif=exif, icc_profile=profile)),
        (".webp", encoded(rgb, "WEBP", **frames)),
    ]
    return files


def sound(chosen: Random) -> tuple[str, bytes]:
    return chosen.choice(sources())


def fresh(chosen: Random) -> tuple[str, bytes]:
    """A sound picture like no other."""
    pixels = np.frombuffer(chosen.randbytes(12 * 9 * 3), np.uint8).reshape(9, 12, 3)
    return ".webp", encoded(Image.fromarray(pixels), "WEBP", lossless=True)


# ---------------------------------------------------------------- spoiled


def cut(chosen: Random) -> tuple[str, bytes]:
    suffix, data = sound(chosen)
    return suffix, data[: chosen.randrange(len(data))]


def flipped(chosen: Random) -> tuple[str, bytes]:
    suffix, data = sound(chosen)
    spoiled = bytearray(data)
    for _ in range(chosen.randint(1, 12)):
        spoiled[chosen.randrange(len(spoiled))] ^= 1 << chosen.randrange(8)
    return suffix, bytes(spoiled)


def torn(chosen: Random) -> tuple[str, bytes]:
    """Bytes put in, left out, zeroed, or taken from another file."""
    suffix, data = sound(chosen)
    spoiled = bytearray(data)
    place, length = chosen.randrange(8, len(data)), chosen.randint(1, 300)
    piece = chosen.choice((b"", bytes(length), chosen.randbytes(length), sound(chosen)[1][:length]))
    spoiled[place : place + chosen.choice((0, length))] = piece
    return suffix, bytes(spoiled)


def misnamed(chosen: Random) -> tuple[str, bytes]:
    return chosen.choice((".png", ".jpg", ".webp", ".PNG", ".gif", ".exe", "")), sound(chosen)[1]


def other(chosen: Random) -> tuple[str, bytes]:
    """What is no picture, or one of a kind that is not taken, under a picture's name."""
    rgb = Image.new("RGB", (9, 9))
    foreign = [encoded(rgb, kind) for kind in ("GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "PDF", "EPS", "JPEG2000")]
    texts = [
        b"",
        b"\0",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\xff\xff\xff\xffWEBPVP8X",
        b"GIF89a",
        b"PK\x03\x04",
    ]
    texts += [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%!PS\n(x) run",
        b"#!/bin/sh",
    ]
    texts += [b"\x89PNG\r\n\x1a\n" + foreign[0], b"\xff\xd8\xff" + chosen.randbytes(500), chosen.randbytes(900)]
    return chosen.choice((".png", ".jpg", ".webp")), chosen.choice([*foreign, *texts])


# ---------------------------------------------------------------- made to hurt


def png(header: bytes, pixels: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def promising(chosen: Random) -> tuple[str, bytes]:
    """A header that promises up to 4 thousand million million pixels, and holds next to none."""
    side = chosen.choice((0, 1, 8_191, 8_192, 20_000, 65_535, 2**31 - 1))
    other_side = chosen.choice((1, 8_191, 8_192, 65_535))
    depth, colour = chosen.choice(((8, 2), (8, 6), (16, 0), (16, 6), (1, 3), (8, 4), (3, 9)))
    kind = chosen.randrange(3)
    if kind == 0:
        return ".png", png(struct.pack(">IIBBBBB", side, other_side, depth, colour, 0, 0, 0), zlib.compress(bytes(99)))
    jpeg = bytearray(chosen.choice([data for suffix, data in sources() if suffix == ".jpg"]))
    start = next(i for i in range(len(jpeg)) if jpeg[i] == 0xFF and jpeg[i + 1] in (0xC0, 0xC2))
    jpeg[start + 5 : start + 9] = struct.pack(">HH", min(side, 65_535), other_side)
    if kind == 1:
        return ".jpg", bytes(jpeg)
    size = struct.pack("<I", (min(side, 16_383) & 0x3FFF) | (min(other_side, 16_383) & 0x3FFF) << 14)
    return ".webp", b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8L" + struct.pack("<I", 28) + b"\x2f" + size + bytes(23)


@cache
def bomb(width: int, height: int, depth: int, colour: int) -> bytes:
    """A sound PNG of one colour that unpacks to `width` x `height` pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    rows = zlib.compressobj(1)
    row = bytes(1 + (width * channels * depth + 7) // 8)
    pixels = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    palette = [(b"PLTE", bytes(3)), (b"tRNS", b"\x80")] if colour == 3 else []
    return png(struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0), pixels, *palette)


def bombs(chosen: Random) -> tuple[str, bytes]:
    """Nearly as many pixels as are taken in (one in twenty), or many less; all in few bytes."""
    side = chosen.choice((8_190, 5_790)) if chosen.randrange(20) == 0 else 1_500
    depth, colour = chosen.choice(((8, 2), (8, 6), (8, 3), (16, 0), (8, 4), (1, 0), (16, 2)))
    return ".png", bomb(side, side, depth, colour)


@cache
def large_jpeg(side: int, mode: str, progressive: bool, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(Image.new(mode, (side, side)), "JPEG", progressive=progressive, exif=exif)


def large_jpegs(chosen: Random) -> tuple[str, bytes]:
    side = chosen.choice((5_790, 8_190)) if chosen.randrange(40) == 0 else 1_200
    settings = chosen.choice(
        (("RGB", True, 1), ("RGB", True, 6), ("CMYK", True, 1), ("RGB", False, 8), ("L", False, 1))
    )
    return ".jpg", large_jpeg(side, *settings)


def stuffed(chosen: Random) -> tuple[str, bytes]:
    """Sound pixels with junk, or a bomb, in what surrounds them."""
    header, pixels = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0), zlib.compress(bytes(4 * 13))
    packed = zlib.compress(bytes(30_000_000))
    chunks = chosen.choice(
        (
            [(b"zTXt", b"x\0\0" + packed)],
            [(b"iTXt", b"x\0\1\0\0\0" + packed)],
            [(b"iCCP", b"x\0\0" + packed)],
            [(b"iCCP", b"x\0\0" + zlib.compress(chosen.randbytes(300)))],
            [(b"tEXt", b"k\0" + bytes(2_000))] * 300,
            [(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + chosen.randbytes(200))],
            [(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\xff\xff\0\0\x08\0\0\0")],
            [(b"acTL", struct.pack(">II", 2**31 - 1, 0))],
            [(b"PLTE", chosen.randbytes(9)), (b"tRNS", chosen.randbytes(600))],
            [(b"gAMA", bytes(4)), (b"cHRM", chosen.randbytes(3))],
        )
    )
    if chosen.random() < 0.6:
        return ".png", png(header, pixels, *chunks)
    jpeg = encoded(Image.new("RGB", (8, 8)), "JPEG")
    marker, body = chosen.choice(
        ((0xE1, b"Exif\0\0" + chosen.randbytes(80)), (0xE2, b"ICC_PROFILE\0\1\1" + chosen.randbytes(90)),
         (0xE2, b"MPF\0" + chosen.randbytes(60)), (0xEE, b"Adobe\0\x64\0\0\0\0\x09"), (0xFE, bytes(65_000)))
    )  # fmt: skip
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body
    tail = chosen.choice((b"", b"PK\x05\x06" + bytes(18), chosen.randbytes(5_000)))
    return ".jpg", jpeg[:2] + segment + jpeg[2:] + tail


KINDS: tuple[Callable[[Random], tuple[str, bytes]], ...] = (
    fresh, sound, cut, flipped, torn, flipped, misnamed, other, promising, bombs, stuffed, large_jpegs, torn, cut,
)  # fmt: skip

COMPANIONS: Files = [
    ("metadata.jsonl", b'{"file_name": "../../elsewhere/picture.png", "text": "stolen"}\n{"file_name": 7}\n[]\nnull\n'),
    ("metadata.csv", b"file_name,text\n/etc/passwd,x\n\xff\xfe,\n" + b'"' * 4_001),
    ("broken.parquet", b"PAR1" + bytes(200) + b"PAR1"),
    ("table.json", b'{"a": ' * 5_000),
    ("1file.txt", b"\xff\xfe not UTF-8"),
    ("to-a-picture.txt", b"a caption " * 200_000),
    ("orphan.caption", b"no picture of this name"),
    (".hidden.png", b"left out like every hidden file"),
]
"""Tables, sidecars and clutter beside the pictures; none of them counts as a picture."""
