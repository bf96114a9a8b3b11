"""A folder of generated pictures: PNG files, and a line for each in `images.jsonl`."""

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdstudio.schema import GeneratedImage, UserError, from_json, to_json
from sdstudio.workspace import append_json, atomic_write, read_json_lines

RECORDS_FILE = "images.jsonl"


def read_images(folder: Path) -> list[GeneratedImage]:
    """The pictures that `images.jsonl` lists and that are there; a line torn by a crash is passed over."""
    images = []
    for line in read_json_lines(folder / RECORDS_FILE):
        try:
            image = from_json(GeneratedImage, line)
        except UserError:
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
    append_json(folder / RECORDS_FILE, to_json(image))
