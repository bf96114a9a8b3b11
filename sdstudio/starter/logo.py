"""A drawn logo with a word in it, which no bundled model has seen: a round badge with a star over the word."""

import math
import random

from PIL import Image, ImageDraw, ImageFont

from sdstudio.starter.styles import COLORS

WORD = "ZORB"
SUPERSAMPLING = 4


def logo(size: int = 64) -> Image.Image:
    """The logo by itself on white, `size` by `size` pixels, RGB."""
    return _on(Image.new("RGB", (size * SUPERSAMPLING,) * 2, (255, 255, 255)), 0.5, 0.5, 0.94, 0.0, size)


def product(seed: int, size: int = 64) -> Image.Image:
    """The logo on a coloured thing: place, size, tilt and colours vary with `seed`; the word can always be read."""
    rng = random.Random(seed)
    back, shirt = (tuple(int(value) for value in COLORS[name]) for name in rng.sample(tuple(COLORS), 2))
    side = size * SUPERSAMPLING
    image = Image.new("RGB", (side, side), back)
    corners = [side * 0.04, side * 0.04, side * 0.96, side * 0.96]
    ImageDraw.Draw(image).rounded_rectangle(corners, side * rng.uniform(0.05, 0.3), shirt)
    x, y = rng.uniform(0.45, 0.55), rng.uniform(0.45, 0.55)
    return _on(image, x, y, rng.uniform(0.72, 0.86), rng.uniform(-12, 12), size)


def _on(image: Image.Image, x: float, y: float, share: float, tilt: float, size: int) -> Image.Image:
    tilted = badge(round(image.width * share)).rotate(tilt, Image.Resampling.BICUBIC)
    corner = (round(image.width * x - tilted.width / 2), round(image.height * y - tilted.height / 2))
    image.paste(tilted, corner, tilted)
    return image.resize((size, size), Image.Resampling.BOX)


def badge(side: int) -> Image.Image:
    """The logo with nothing around it, RGBA."""
    picture = Image.new("RGBA", (side, side))
    pen = ImageDraw.Draw(picture)
    navy, gold = (24, 34, 84, 255), (250, 200, 40, 255)
    pen.ellipse([0, 0, side - 1, side - 1], navy, gold, max(1, side // 16))
    points = []
    for i in range(10):
        radius = side * (0.13 if i % 2 == 0 else 0.055)
        angle = math.pi * (i / 5 - 0.5)
        points.append((side / 2 + radius * math.cos(angle), side * 0.25 + radius * math.sin(angle)))
    pen.polygon(points, gold)
    pen.text((side / 2, side * 0.57), WORD, (255, 255, 255, 255), ImageFont.load_default(side * 0.3), anchor="mm")
    return picture
