"""Where a model looked for the words of a prompt: one strip of squares beside each picture, a square a word."""

import io
from pathlib import Path

from PIL import Image

from sdstudio.workspace import atomic_write

FOLDER = "attention"


def write_maps(folder: Path, file: str, squares: list[Image.Image]) -> None:
    """Keep the squares, all of one size, for the picture `file` of this folder."""
    width, height = squares[0].size
    strip = Image.new("L", (width * len(squares), height))
    for place, square in enumerate(squares):
        strip.paste(square, (place * width, 0))
    buffer = io.BytesIO()
    strip.save(buffer, "PNG")
    atomic_write(folder / FOLDER / file, buffer.getvalue())


def read_maps(picture: Path, words: list[str]) -> dict[str, Image.Image]:
    """The square of each word, bright where it was looked for; empty where none are kept for the picture."""
    try:
        with Image.open(picture.parent / FOLDER / picture.name) as file:
            strip = file.convert("L")
    except OSError:
        return {}
    width = strip.width // max(len(words), 1)
    return {word: strip.crop((place * width, 0, (place + 1) * width, strip.height)) for place, word in enumerate(words)}
