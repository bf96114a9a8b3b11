"""Bytes -> a stored picture: kept, written anew or refused.   pytest tests/test_datasets_intake.py"""

import io
import random
import struct
import zlib
from hashlib import sha256
from threading import Thread

import numpy as np
import pytest
from PIL import Image, ImageOps

from sdstudio.datasets import intake
from sdstudio.datasets.intake import RefusedPicture, read_picture

RED, BLUE = (220, 30, 40), (20, 60, 200)


def encode(picture: Image.Image, kind: str = "PNG", **settings) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def two_halves(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, RED)
    picture.paste(BLUE, (size[0] // 2, 0, *size))
    return picture.convert(mode)


def stored(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(read_picture(data).data))
    picture.load()
    return picture


def png_header_of(width: int, height: int) -> bytes:
    """A PNG that promises `width` x `height` pixels and holds none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_an_upright_rgb_picture_is_stored_as_it_came(kind, extension):
    data = encode(two_halves(), kind)
    picture = read_picture(data)
    assert picture.data == data
    assert picture.id == picture.origin == sha256(data).hexdigest()
    assert (picture.extension, picture.width, picture.height) == (extension, 40, 20)


def soft_photo(width: int, height: int) -> Image.Image:
    corners = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)


def turned(picture: Image.Image, kind: str, orientation: int = 6, **settings) -> bytes:
    """6 says that the camera was turned: show it rotated by 90 degrees clockwise."""
    exif = Image.Exif()
    exif[intake.EXIF_ORIENTATION] = orientation
    return encode(picture, kind, exif=exif, **settings)


@pytest.mark.parametrize(("kind", "extension"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "png")])
def test_exif_orientation_is_applied(kind, extension):
    data = turned(two_halves(size=(400, 200)), kind)
    picture = read_picture(data)
    assert (picture.width, picture.height, picture.extension, picture.turned) == (200, 400, extension, True)
    assert picture.id == sha256(picture.data).hexdigest() != picture.origin == sha256(data).hexdigest()
    upright = stored(data)
    assert upright.getexif().get(intake.EXIF_ORIENTATION) is None
    assert np.allclose(upright.getpixel((100, 50)), RED, atol=12)
    assert np.allclose(upright.getpixel((100, 350)), BLUE, atol=12)
    assert Image.open(io.BytesIO(picture.thumb)).size == (128, 256)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_every_orientation_is_what_pillow_makes_of_it(kind, orientation):
    data = turned(soft_photo(320, 160), kind, orientation, quality=90)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    difference = np.abs(np.asarray(stored(data), dtype=int) - np.asarray(expected))
    assert difference.mean() < 2 if kind == "JPEG" else not difference.any()


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_turned_jpeg_keeps_its_quality_and_its_size(subsampling, orientation):
    photo = soft_photo(640, 480)
    profile = b"\1" * 200
    data = turned(photo, "JPEG", orientation, quality=88, subsampling=subsampling, icc_profile=profile)
    decoded = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), dtype=float)
    upright = stored(data)
    error = np.mean((np.asarray(upright) - decoded) ** 2)
    assert 10 * np.log10(255**2 / error) > 45
    assert len(read_picture(data).data) < 1.3 * len(data)
    assert upright.info["icc_profile"] == profile


def test_exif_that_cannot_be_read_does_not_cost_the_picture():
    data = encode(two_halves(), "JPEG", exif=b"Exif\0\0" + b"MM junk that is no TIFF" * 3)
    assert read_picture(data).data == data


def test_a_large_jpeg_looks_the_same_small_and_is_read_to_its_end():
    photo = soft_photo(1600, 1200)
    data = encode(photo, "JPEG", quality=90)
    picture, plain = read_picture(data), read_picture(encode(photo))
    assert (picture.data, picture.width, picture.height) == (data, 1600, 1200)
    difference = np.frombuffer(picture.fingerprint, np.uint8).astype(int) - np.frombuffer(plain.fingerprint, np.uint8)
    assert np.abs(difference).max() <= 4
    with pytest.raises(RefusedPicture, match="cut short"):
        read_picture(data[:-5000])


def sixteen_bit() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65535, 800).reshape(20, 40).astype(np.uint16))


def clear_left_half() -> Image.Image:
    picture = two_halves("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 20, 20))
    return picture


ODD = {
    "cmyk": encode(two_halves("CMYK"), "JPEG"),
    "grey": encode(two_halves("L")),
    "grey jpeg": encode(two_halves("L"), "JPEG"),
    "one bit": encode(two_halves("1")),
    "palette": encode(two_halves("P")),
    "grey alpha": encode(two_halves("LA")),
    "palette alpha": encode(clear_left_half().quantize()),
    "rgba": encode(clear_left_half()),
    "rgba webp": encode(clear_left_half(), "WEBP", lossless=True),
    "rgb with a transparent colour": encode(two_halves(), transparency=RED),
    "16 bits": encode(sixteen_bit()),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_modes_become_rgb_png(name):
    picture = read_picture(ODD[name])
    upright = stored(ODD[name])
    assert (upright.format, upright.mode, upright.size) == ("PNG", "RGB", (40, 20))
    assert picture.id == sha256(picture.data).hexdigest() == read_picture(ODD[name]).id


@pytest.mark.parametrize("name", ["palette alpha", "rgba", "rgba webp", "rgb with a transparent colour"])
def test_transparency_becomes_white_and_the_rest_stays(name):
    upright = stored(ODD[name])
    assert upright.getpixel((5, 10)) == (255, 255, 255)
    assert np.allclose(upright.getpixel((35, 10)), BLUE, atol=2)


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.asarray(stored(ODD["16 bits"]))[..., 0].ravel()
    assert np.abs(values - np.linspace(0, 255, 800)).max() <= 1


def test_a_colour_profile_survives_the_new_file():
    profile = b"\0" * 128
    kept = stored(encode(clear_left_half(), icc_profile=profile))
    dropped = stored(encode(two_halves("CMYK"), "JPEG", icc_profile=profile))
    assert kept.info.get("icc_profile") == profile
    assert "icc_profile" not in dropped.info


def test_a_camera_jpeg_with_a_preview_behind_it_is_taken():
    data = encode(two_halves(), "MPO", save_all=True, append_images=[two_halves(size=(8, 4))])
    picture = read_picture(data)
    assert (picture.data, picture.extension, picture.width) == (data, "jpg", 40)


@pytest.mark.parametrize(("size", "expected"), [((1000, 500), (256, 128)), ((2000, 1), (256, 1))])
def test_thumbs_are_small_jpeg(size, expected):
    thumb = Image.open(io.BytesIO(read_picture(encode(two_halves(size=size))).thumb))
    assert (thumb.format, thumb.size) == ("JPEG", expected)


def test_a_small_picture_is_its_own_thumb_unless_its_file_is_large():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    assert read_picture(encode(two_halves())).thumb == b""
    assert len(encode(noise)) > intake.THUMB_BYTES
    assert Image.open(io.BytesIO(read_picture(encode(noise)).thumb)).size == (200, 200)


def animation(kind: str) -> bytes:
    return encode(two_halves(), kind, save_all=True, append_images=[Image.new("RGB", (40, 20))], duration=100)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a PNG, JPEG or WebP"),
        (b"hello, I am text", "not a PNG, JPEG or WebP"),
        (encode(two_halves(), "GIF"), "not a PNG, JPEG or WebP"),
        (encode(two_halves(), "BMP"), "not a PNG, JPEG or WebP"),
        (encode(two_halves(), "TIFF"), "not a PNG, JPEG or WebP"),
        (b"\x89PNG\r\n\x1a\n" + encode(two_halves(), "GIF"), "damaged"),
        (b"\xff\xd8\xff", "damaged"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "damaged"),
        (animation("PNG"), "animation of 2 frames"),
        (animation("WEBP"), "animation of 2 frames"),
        (png_header_of(9000, 9000), "million pixels"),
        (png_header_of(60000, 60000), "million pixels"),
    ],
)
def test_refused_with_one_sentence(data, reason):
    with pytest.raises(RefusedPicture, match=reason) as caught:
        read_picture(data)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (encode(two_halves()), 800),
        (encode(two_halves("RGBA")), 1600),
        (encode(two_halves(), "JPEG"), 800),
        (encode(two_halves(), "JPEG", progressive=True), 1600),
        (turned(two_halves(), "JPEG"), 1600),
        (turned(two_halves(), "JPEG", progressive=True), 2400),
        (encode(two_halves(), "WEBP"), 3200),
    ],
)
def test_the_most_pixels_depend_on_the_copies_that_reading_takes(data, most, monkeypatch):
    monkeypatch.setattr(intake, "MAX_PIXELS", most)
    read_picture(data)
    monkeypatch.setattr(intake, "MAX_PIXELS", most - 1)
    with pytest.raises(RefusedPicture, match="million pixels"):
        read_picture(data)


def test_who_finds_no_room_waits():
    room = intake._Room(10)
    order = []
    with room.taken(7):
        second = Thread(target=lambda: [room.taken(4).__enter__(), order.append("second")])
        second.start()
        with room.taken(3):
            second.join(0.05)
            order.append("first")
    second.join(5)
    assert order == ["first", "second"]


def test_too_many_bytes_are_refused_before_they_are_decoded(monkeypatch):
    data = encode(two_halves())
    monkeypatch.setattr(intake, "MAX_BYTES", len(data) - 1)
    with pytest.raises(RefusedPicture, match="larger than"):
        read_picture(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_cut_is_noticed(kind):
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    for length in range(0, len(data) - 60, max(1, len(data) // 25)):
        with pytest.raises(RefusedPicture):
            read_picture(data[:length])


def test_random_damage_is_either_refused_or_a_sound_picture():
    """400 files with flipped, cut and inserted bytes: nothing but RefusedPicture leaves, and what stays decodes."""
    generator = random.Random(0)
    sources = [encode(two_halves(), kind) for kind in ("PNG", "JPEG", "WEBP")] + list(ODD.values())
    outcomes = {"refused": 0, "taken": 0}
    for round in range(400):
        data = bytearray(sources[round % len(sources)])
        for _ in range(generator.randint(1, 6)):
            position = generator.randrange(8, len(data))
            what = generator.choice(("flip", "cut", "insert"))
            if what == "flip":
                data[position] ^= 1 << generator.randrange(8)
            elif what == "cut":
                del data[position : position + generator.randint(1, 20)]
                data.extend(b"\0" * 20)
            else:
                data[position:position] = generator.randbytes(5)
        try:
            picture = read_picture(bytes(data))
        except RefusedPicture:
            outcomes["refused"] += 1
            continue
        outcomes["taken"] += 1
        with Image.open(io.BytesIO(picture.data)) as again:
            again.load()
            assert (again.mode, again.size) == ("RGB", (picture.width, picture.height))
    assert min(outcomes.values()) > 20
