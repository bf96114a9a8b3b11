"""A folder of generated pictures: PNG files, and a line for each in `images.jsonl`."""

import io
import json
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdstudio.schema import GeneratedImage, UserError, from_json, to_json
from sdstudio.workspace import atomic_write

RECORDS_FILE = "images.jsonl"


def read_images(folder: Path) -> list[GeneratedImage]:
    """The pictures that `images.jsonl` lists and that are there; a line torn by a crash is passed over."""
    try:
        lines = (folder / RECORDS_FILE).read_text(encoding="utf-8").split("\n")  # prompts may hold other line ends
    except FileNotFoundError:
        return []
    images = []
    for line in lines:
        try:
            image = from_json(GeneratedImage, json.loads(line))
        except (json.JSONDecodeError, UserError):
            continue
        if (folder / image.file).is_file():
            images.append(image)
    return images


def write_image(folder: Path, image: GeneratedImage, picture: Image.Image, info: PngInfo) -> None:
    """Write the PNG and then its line in `images.jsonl`, so that a listed picture is always there."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    atomic_write(folder / image.file, buffer.getvalue())
    list_image(folder, image)


def list_image(folder: Path, image: GeneratedImage) -> None:
    """Add the line of a picture that lies in the folder."""
    with (folder / RECORDS_FILE).open("ab+") as file:
        if file.seek(0, io.SEEK_END):
            file.seek(-1, io.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")  # ends a line that a crash has torn
        file.write(json.dumps(to_json(image), ensure_ascii=False).encode() + b"\n")
