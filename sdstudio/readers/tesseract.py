"""Tesseract, when it is installed: its own program is asked, picture by picture.

Smith 2007, An Overview of the Tesseract OCR Engine, ICDAR.
"""

import csv
import io
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from sdstudio.schema import STRICT, Reader, Reading, UserError, option

READABLE = 300
"""Pixels of height below which a picture is enlarged: Tesseract wants capitals of 20 pixels and more."""
MOST_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class TesseractOptions:
    """Which program, which language, and how the page is laid out."""

    __pydantic_config__ = STRICT
    program: str = option("tesseract", "The program's name or path.", advanced=True)
    language: str = option("eng", "The language, as Tesseract names it.")
    layout: int = option(
        7, "Tesseract's page segmentation mode: 7 is one line, 8 one word, 11 words anywhere.", low=3, high=13
    )


def load(options: TesseractOptions, device: str) -> Callable[[Image.Image], Reading]:
    """A function that reads words; its confidence is the mean of theirs. A UserError where there is no Tesseract."""
    program = shutil.which(options.program)
    if program is None:
        raise UserError(
            "Tesseract is not installed: get it by `apt install tesseract-ocr` or from your system's packages, "
            "or choose another reader."
        )
    layout = ["--psm", str(options.layout), "-l", options.language]
    command = [program, "stdin", "stdout", *layout, "tsv"]

    def read(picture: Image.Image) -> Reading:
        zoom = max(1, -(-READABLE // picture.height))
        memory = io.BytesIO()
        picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.BICUBIC).save(memory, "PNG")
        done = subprocess.run(command, input=memory.getvalue(), capture_output=True, timeout=MOST_SECONDS, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise UserError(f"Tesseract could not read a picture: {said[-1]}.")
        return _reading(done.stdout.decode("utf-8"))

    return read


def _reading(table: str) -> Reading:
    """The words of Tesseract's TSV; lines without a word have a confidence of −1."""
    rows = csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE)
    words = [(row["text"], float(row["conf"])) for row in rows if row["text"].strip() and float(row["conf"]) >= 0]
    confidence = sum(score for _, score in words) / len(words) / 100 if words else 0.0
    return Reading(text=" ".join(word for word, _ in words), confidence=confidence)


RECORD = Reader(
    name="tesseract",
    label="Tesseract",
    summary="The classical program, when it is installed; for pictures of some hundred pixels.",
    paper="Smith 2007, An Overview of the Tesseract OCR Engine, ICDAR",
    Options=TesseractOptions,
    load=load,
)
