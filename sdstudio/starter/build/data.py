"""Pictures to learn from: drawn once into arrays on disk, the same bytes for the same seed and count."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from sdstudio.starter.drawing import SIZE, render
from sdstudio.starter.styles import Color
from sdstudio.starter.world import Scene, random_scene

TRAIN_SEED, HELD_OUT_SEED, DOODLE_SEED = 1, 2, 3


@dataclass(frozen=True)
class Pictures:
    """`pixels` uint8 (N, 64, 64, 3) and, for scenes, what each shows."""

    pixels: np.ndarray
    scenes: list[Scene]

    def batch(self, index: np.ndarray) -> torch.Tensor:
        """float32 (B, 3, 64, 64) in [-1, 1]."""
        return to_tensor(self.pixels[index])


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def scenes(seed: int, count: int, **constraints: object) -> list[Scene]:
    rng = random.Random(seed)
    return [random_scene(rng, **constraints) for _ in range(count)]  # type: ignore[arg-type]


def draw(listed: list[Scene]) -> Pictures:
    return Pictures(np.stack([np.asarray(render(scene)) for scene in listed]), listed)


def training_pictures(folder: Path, count: int) -> Pictures:
    """The world's training pictures, drawn into `folder` at the first call."""
    listed = scenes(TRAIN_SEED, count)
    return Pictures(_stored(folder / f"world-{count}.npy", lambda i: render(listed[i]), count), listed)


def doodles(folder: Path, count: int) -> Pictures:
    """Shapes that mean nothing, in loud colours and with outlines, so that the autoencoder can hold other styles."""
    return Pictures(
        _stored(folder / f"doodles-{count}.npy", lambda i: doodle(random.Random(DOODLE_SEED * 10**6 + i)), count), []
    )


def held_out(count: int, **constraints: object) -> Pictures:
    """Pictures that training never saw."""
    return draw(scenes(HELD_OUT_SEED, count, **constraints))


def _stored(path: Path, make: object, count: int) -> np.ndarray:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(count, SIZE, SIZE, 3))
        for i in range(count):
            array[i] = np.asarray(make(i))  # type: ignore[operator]
            if i % 5000 == 4999:
                print(f"{path.name}: {i + 1} of {count}", flush=True)
        array.flush()
        partial.rename(path)
    return np.load(path, mmap_mode="r")


def doodle(rng: random.Random) -> Image.Image:
    """One 64-pixel picture of random shapes, most of them outlined."""
    unit = 4
    side = SIZE * unit
    loud, outlined, width = rng.random() < 0.6, rng.random() < 0.65, round(rng.uniform(1.2, 2.2) * unit)

    def color() -> Color:
        if loud:
            return tuple(rng.choice((0, 10, 255, 235, rng.randrange(256))) for _ in range(3))  # type: ignore[return-value]
        return tuple(rng.randrange(256) for _ in range(3))  # type: ignore[return-value]

    image = Image.new("RGB", (side, side), color())  # type: ignore[arg-type]
    pen = ImageDraw.Draw(image)
    ink = (0, 0, 0) if outlined else None
    pen.rectangle([-9, rng.uniform(0.5, 0.8) * side, side + 9, side + 9], color(), ink, width if ink else 0)  # type: ignore[arg-type]
    for _ in range(rng.randrange(4, 10)):
        x, y = rng.uniform(0, side), rng.uniform(0, side)
        a, b = rng.uniform(3, 18) * unit, rng.uniform(3, 18) * unit
        shape = rng.random()
        pens = {"outline": ink, "width": width if ink else 0}
        if shape < 0.45:
            pen.ellipse([x - a, y - b, x + a, y + b], color(), **pens)  # type: ignore[arg-type]
        elif shape < 0.7:
            pen.rounded_rectangle([x - a, y - b, x + a, y + b], rng.uniform(0, min(a, b) * 0.9), color(), **pens)  # type: ignore[arg-type]
        elif shape < 0.85:
            points = [(x + rng.uniform(-2, 2) * a, y + rng.uniform(-2, 2) * b) for _ in range(3)]
            pen.polygon(points, color())  # type: ignore[arg-type]
            if ink:
                pen.line(points + points[:2], ink, width, joint="curve")
        else:
            radius = rng.uniform(3, 6) * unit
            inner = radius * rng.uniform(0.25, 0.5)
            for sign in (-1, 1):
                middle = x + sign * radius
                pen.ellipse([middle - radius, y - radius, middle + radius, y + radius], (255, 255, 255), **pens)  # type: ignore[arg-type]
                pen.ellipse([middle - inner, y - inner, middle + inner, y + inner], (20, 16, 20))
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)
