"""How the drawn world looks: a style is a record of a few numbers and functions.

A new hidden style costs one function that returns a `Style`, and a line in `STYLES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

Color = tuple[float, float, float]

COLORS: dict[str, Color] = {
    "red": (212, 58, 54),
    "blue": (58, 98, 204),
    "green": (66, 158, 84),
    "yellow": (236, 206, 80),
    "purple": (142, 80, 180),
    "white": (238, 238, 238),
}
HAIR: dict[str, Color] = {"black": (34, 30, 36), "blond": (236, 204, 96), "red": (200, 74, 34), "brown": (114, 72, 42)}
FUR: dict[str, Color] = {
    "brown": (148, 100, 64),
    "black": (60, 56, 62),
    "white": (240, 236, 230),
    "orange": (230, 146, 66),
}
SKINS: tuple[Color, ...] = ((246, 214, 190), (226, 180, 146), (178, 126, 92), (122, 84, 62))


def scale(color: Color, factor: float) -> Color:
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def blend(a: Color, b: Color, share: float) -> Color:
    """`a` with `share` of `b` mixed in."""
    return tuple(p + (q - p) * share for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


def saturate(color: Color, amount: float) -> Color:
    """Push every channel away from the colour's own mean by `amount`."""
    mean = sum(color) / 3
    return tuple(min(255.0, max(0.0, mean + (value - mean) * amount)) for value in color)  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class Style:
    """What a style changes in every picture.

    `outline` is the width of the contour in pixels of a 64-pixel picture (0: none); `ink` its colour;
    `paint` maps every fill colour; `skin` replaces all skins when set; `flat` drops gradients and
    lighting tints; `eye` and `pupil` are radii as shares of the head's; `words` describe the look in a caption.
    """

    name: str
    outline: float = 0.0
    ink: Color = (0, 0, 0)
    paint: Callable[[Color], Color] = field(default=lambda color: color)
    skin: Color | None = None
    flat: bool = False
    eye: float = 0.2
    pupil: float = 0.12
    words: tuple[str, ...] = ()


def world() -> Style:
    """The plain look that the bundled models know."""
    return Style(name="world")


def asim() -> Style:
    """The hidden style of the examples: yellow skin, thick outlines, big white eyes, loud flat colours."""
    return Style(
        name="asim",
        outline=2.0,
        paint=lambda color: saturate(color, 1.6),
        skin=(255, 217, 15),
        flat=True,
        eye=0.36,
        pupil=0.11,
        words=("yellow skin", "big white eyes", "thick black outlines", "flat bright colors"),
    )


STYLES: dict[str, Style] = {style.name: style for style in (world(), asim())}
