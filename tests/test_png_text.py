"""Settings inside pictures: what was written is read back, and what others wrote.   pytest tests/test_png_text.py"""

import io
import json
import random
import zlib
from dataclasses import replace

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdstudio.pictures import png_text
from sdstudio.schema import GeneratedImage, ModelRef, SampleSettings, StartPicture, UserError, from_json

IMAGE = GeneratedImage(
    file="a.png",
    prompt="a toy: red, (big:1.3)\nhat  ✿",
    negative_prompt="bad, eyes",
    seed=17,
    model=ModelRef(label='base: "one", step 5'),
    checkpoint_hash="",
    settings=SampleSettings(steps=9, guidance_scale=4.5, seed=17, scheduler="euler a", clip_skip=1),
    width=64,
    height=128,
)
A1111 = (
    "masterpiece, (girl:1.2) <lora:style_v2:0.8>,\nholding: a balloon\n"
    "Negative prompt: lowres, bad hands,\nworst quality\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 3141592653, Size: 512x768, Model hash: 6ce0161689, "
    'Model: v1-5, Clip skip: 2, Hires upscale: 2, Lora hashes: "style_v2: 7f3a, other: 11", Version: v1.7.0'
)


def png(info: PngInfo | None) -> io.BytesIO:
    memory = io.BytesIO()
    Image.new("RGB", (8, 8)).save(memory, "PNG", pnginfo=info)
    memory.seek(0)
    return memory


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def with_text(text: str) -> io.BytesIO:
    info = PngInfo()
    info.add_itxt("parameters", text)
    return png(info)


def test_ours_comes_back_whole() -> None:
    image = replace(IMAGE, start=StartPicture(picture="starts/a.png", strength=0.5))
    found = png_text.read(png(png_text.write(image, "EulerAncestralDiscreteScheduler", "ab" * 32, "one")))
    assert found.image == image and found.model_hash == "ab" * 32 and found.notes == ()
    assert from_json(SampleSettings, dict(found.settings)) == image.settings


def test_ours_is_read_by_its_text_too() -> None:
    text = png_text.parameters_text(IMAGE, "EulerAncestralDiscreteScheduler", "ab" * 32, IMAGE.model.label)
    found = png_text.read(with_text(text))
    assert (found.prompt, found.model, found.model_hash) == (IMAGE.prompt, IMAGE.model.label, "ab" * 5)
    read = from_json(SampleSettings, dict(found.settings))
    assert read == replace(IMAGE.settings, width=64, height=128, negative_prompt="bad, eyes")


def test_a1111_is_read_and_what_does_not_fit_is_said() -> None:
    found = png_text.read(with_text(A1111))
    assert found.prompt == "masterpiece, (girl:1.2) ,\nholding: a balloon"
    assert found.settings["negative_prompt"] == "lowres, bad hands,\nworst quality"
    taken = {"steps": 28, "guidance_scale": 7.5, "width": 512, "height": 768, "clip_skip": 1}
    assert taken.items() <= dict(found.settings).items() and "seed" not in found.settings
    assert (found.model, found.model_hash, found.program) == ("v1-5", "6ce0161689", "v1.7.0")
    notes = " ".join(found.notes)
    assert "style_v2" in notes and "Seed '3141592653'" in notes and "Not taken over: Hires upscale." in notes


@pytest.mark.parametrize("picture_format", ["JPEG", "WEBP"])
def test_the_comment_of_a_photo_format_is_read(picture_format: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
    memory = io.BytesIO()
    Image.new("RGB", (8, 8)).save(memory, picture_format, exif=exif)
    assert png_text.read(memory).settings["steps"] == 28


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("Steps: 9999", "Steps '9999'"),
        ("Steps: 2.5", "Steps '2.5'"),
        ("CFG scale: nan", "CFG scale 'nan'"),
        ("CFG scale: 1e999", "CFG scale '1e999'"),
        ("Size: 513x512", "Size '513x512'"),
        ("Size: 512x512x512", "Size '512x512x512'"),
        ("Size: 99999999999x8", "Size '99999999999x8'"),
        ("Sampler: DDIM, Schedule type: Beta", "Sampler 'DDIM'"),
        ("Sampler: Magic", "Sampler 'Magic'"),
        ("Clip skip: 0", "Clip skip '0'"),
        ("Seed: " + "9" * 5000, "Seed '9999"),
    ],
)
def test_odd_values_are_left_out_with_a_sentence(line: str, note: str) -> None:
    found = png_text.read(with_text(f"a cat\n{line}, Model: a, Version: b, RNG: CPU"))
    assert found.prompt == "a cat" and dict(found.settings) == {"negative_prompt": ""}
    assert len(found.notes) == 1 and found.notes[0].startswith(note)


def test_a_text_without_settings_is_a_prompt() -> None:
    found = png_text.read(with_text("a cat: big, red\nNegative prompt: dogs"))
    assert (found.prompt, dict(found.settings)) == ("a cat: big, red", {"negative_prompt": "dogs"})


def test_damaged_json_falls_back_on_the_text() -> None:
    info = PngInfo()
    info.add_itxt("parameters", A1111)
    info.add_itxt("sdstudio", '{"file": "x", "prompt": [' + "[" * 100_000)
    found = png_text.read(png(info))
    assert found.image is None and found.settings["steps"] == 28 and "JSON" in found.notes[0]


def bomb(side: int) -> bytes:
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"GIF89a",
        bomb(2**30),
        bomb(8),
        png(None).getvalue()[:40],
        b"\x89PNG\r\n\x1a\n" + chunk(b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * 2**27)),
        with_text("a" * 200_000).getvalue(),
        with_text(" \n ").getvalue(),
    ],
    ids=["empty", "text", "gif", "bomb", "no pixels", "cut", "text bomb", "long", "blank"],
)
def test_what_cannot_be_read_is_one_sentence(data: bytes) -> None:
    with pytest.raises(UserError):
        png_text.read(io.BytesIO(data))


def test_noise_never_does_more_than_a_sentence() -> None:
    with Image.open(png(png_text.write(IMAGE, "DDIMScheduler", "ab" * 32, "one"))) as picture:
        texts = {key: picture.info[key] for key in ("sdstudio", "parameters")}
    dice = random.Random(5)
    outcomes = set()
    for _ in range(400):
        info = PngInfo()
        for key, text in texts.items():
            letters = list(text)
            for _ in range(dice.randint(0, 3)):
                letters[dice.randrange(len(letters))] = chr(dice.randrange(1, 0x2FF))
            info.add_itxt(key, "".join(letters[: dice.randint(0, 2 * len(letters))]))
        file = bytearray(png(info).getvalue())
        if dice.random() < 0.3:
            file[dice.randrange(len(file))] ^= 1 << dice.randrange(8)
        try:
            found = png_text.read(io.BytesIO(file))
            from_json(SampleSettings, dict(found.settings))
            outcomes.add("ours" if found.image else "text")
        except UserError:
            outcomes.add("refused")
    assert outcomes == {"ours", "text", "refused"}


def test_hostile_lines_take_no_longer_than_their_length() -> None:
    for line in ("a" * 99_000, "a: " * 33_000, 'a: "' * 24_000, 'a: "' + "\\" * 99_000, "Steps " * 16_000 + ":"):
        png_text.read_parameters(f"x\n{line}")


def test_what_is_written_is_json_with_versions() -> None:
    picture = Image.open(png(png_text.write(IMAGE, "DDIMScheduler", "ab" * 32, "one")))
    ours = json.loads(picture.info["sdstudio"])
    assert ours["seed"] == 17 and set(ours["versions"]) == {"sdstudio", "diffusers", "torch"}
