"""Reads capitals of one known typeface by comparing them with every place: template matching.

It is meant for pictures as small as the starter's, where a word is ten pixels high and no trained reader sees anything.
It knows Pillow's own typeface alone, upright, light on dark or dark on light; what is drawn in another is not read.
Lewis 1995, Fast Normalized Cross-Correlation.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sdstudio.detectors.template import Array, correlation
from sdstudio.schema import STRICT, Reader, Reading, option

CHARACTERS = string.ascii_uppercase
HEIGHTS = (0.15, 0.17, 0.19, 0.21, 0.23)
"""Heights of a capital that are tried, as shares of the picture's height."""
SIDE = 96
"""A picture is looked at in this height; more shows nothing that the small ones hold."""
MARGIN = 0.2
"""Room around a letter that must be empty, as a share of its height."""
AT_ONCE = 6
"""How often one letter is looked for in a word."""


@dataclass(frozen=True, kw_only=True)
class LettersOptions:
    """How alike a letter must be."""

    __pydantic_config__ = STRICT
    threshold: float = option(0.5, "A correlation below this is no letter.", low=0.0, high=1.0, step=0.05)


@dataclass(frozen=True)
class _Letter:
    character: str
    score: float
    left: float
    top: float
    width: float
    is_light: bool

    @property
    def middle(self) -> float:
        return self.left + self.width / 2


def load(options: LettersOptions, device: str) -> Callable[[Image.Image], Reading]:
    """A function that reads the one line of letters which is clearest."""

    def read(picture: Image.Image) -> Reading:
        width = max(1, round(SIDE * picture.width / picture.height))
        grey = np.asarray(picture.convert("L").resize((width, SIDE), Image.Resampling.BICUBIC), np.float64)[None]
        lines = [_line(grey, round(share * SIDE), options.threshold) for share in HEIGHTS]
        best = max(lines, key=lambda line: sum(letter.score - options.threshold for letter in line))
        scores = [letter.score for letter in best]
        text = "".join(letter.character for letter in best)
        return Reading(text=text, confidence=sum(scores) / len(scores) if scores else 0.0)

    return read


def _line(grey: Array, height: int, threshold: float) -> list[_Letter]:
    """The word of letters of about `height` around the surest one: in its line and shade, none over another."""
    found = [letter for character in CHARACTERS for letter in _places(grey, character, height, threshold)]
    kept: list[_Letter] = []
    for letter in sorted(found, key=lambda one: -one.score):
        fits = not kept or (abs(letter.top - kept[0].top) < height / 2 and letter.is_light == kept[0].is_light)
        if fits and all(abs(letter.middle - other.middle) > (letter.width + other.width) / 4 for other in kept):
            kept.append(letter)
    in_order = sorted(kept, key=lambda one: one.left)
    first = last = in_order.index(kept[0]) if kept else 0
    while first > 0 and _are_neighbours(in_order[first - 1], in_order[first], height):
        first -= 1
    while last + 1 < len(in_order) and _are_neighbours(in_order[last], in_order[last + 1], height):
        last += 1
    return in_order[first : last + 1]


def _are_neighbours(one: _Letter, other: _Letter, height: int) -> bool:
    """Whether less than a margin is between them; each letter's width holds its own margins."""
    return other.left < one.left + one.width - MARGIN * height


def _places(grey: Array, character: str, height: int, threshold: float) -> list[_Letter]:
    glyph = _glyph(character, height)
    if glyph.shape[1] > grey.shape[1] or glyph.shape[2] > grey.shape[2]:
        return []
    signed = correlation(grey, glyph, np.ones(glyph.shape[1:]))
    scores = np.abs(signed)  # dark on light correlates with −1
    width, letters = glyph.shape[2], []
    for _ in range(AT_ONCE):
        top, left = np.unravel_index(int(scores.argmax()), scores.shape)
        if scores[top, left] < threshold:
            break
        score, is_light = float(scores[top, left]), bool(signed[top, left] > 0)
        letters.append(_Letter(character, score, float(left), float(top), float(width), is_light))
        scores[:, max(0, left - width // 2) : left + width // 2 + 1] = 0
    return letters


@cache
def _glyph(character: str, height: int) -> Array:
    """The letter in white on black with its margin around it: (1, h, w)."""
    font = ImageFont.load_default(200)
    left, top, right, bottom = font.getbbox(character)
    margin = (bottom - top) * MARGIN
    picture = Image.new("L", (round(right - left + 2 * margin), round(bottom - top + 2 * margin)))
    ImageDraw.Draw(picture).text((margin - left, margin - top), character, 255, font)
    zoom = height / (bottom - top)
    size = max(3, round(picture.width * zoom)), max(3, round(picture.height * zoom))
    return np.asarray(picture.resize(size, Image.Resampling.BOX), np.float64)[None]


RECORD = Reader(
    name="letters",
    label="Known typeface",
    summary="Compares letters of the drawn logo's typeface: no network needed, reads nothing else.",
    paper="Lewis 1995, Fast Normalized Cross-Correlation",
    Options=LettersOptions,
    load=load,
)
