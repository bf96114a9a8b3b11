"""Sharpness and saturation of pictures whose values are known: pytest tests/test_metrics_pixels.py"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFilter

from sdstudio.metrics import saturation, sharpness
from sdstudio.metrics.sample import Pictures, Sample
from sdstudio.metrics.saturation import mean_saturation
from sdstudio.metrics.sharpness import laplacian_variance


def noise(seed: int = 0, side: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def pictures(folder: Path, drawn: list[Image.Image]) -> Pictures:
    paths = []
    for place, picture in enumerate(drawn):
        paths.append(folder / f"{place}.png")
        picture.save(paths[-1])
    nothing = np.zeros((len(paths), 0))
    return Pictures(
        pooled=nothing, image=nothing, text=nothing, groups=tuple("aabb"[: len(paths)]),
        names=tuple(path.name for path in paths), paths=tuple(paths), source="PNG",
    )  # fmt: skip


def test_the_laplacian_is_opencv_s() -> None:
    grey = np.asarray(noise().convert("L"))
    assert laplacian_variance(noise()) == pytest.approx(cv2.Laplacian(grey, cv2.CV_64F)[1:-1, 1:-1].var(), rel=1e-12)


def test_a_chessboard_is_as_sharp_as_can_be_and_a_ramp_not_at_all() -> None:
    board = Image.fromarray(np.uint8(255 * (np.indices((10, 10)).sum(0) % 2)))
    ramp = Image.fromarray(np.uint8(np.tile(np.arange(0, 100, 5), (20, 1))))
    assert laplacian_variance(board) == pytest.approx((4 * 255) ** 2)
    assert laplacian_variance(ramp) == 0


def test_blur_lowers_sharpness() -> None:
    blurred = [laplacian_variance(noise().filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 2)]
    assert blurred[0] > 4 * blurred[1] > 8 * blurred[2]


@pytest.mark.parametrize(
    ("color", "value"), [((255, 0, 0), 1), ((0, 0, 0), 0), ((90, 90, 90), 0), ((200, 150, 100), 0.5)]
)
def test_saturation_of_known_colours(color: tuple[int, int, int], value: float) -> None:
    assert mean_saturation(Image.new("RGB", (4, 3), color)) == pytest.approx(value)


def test_a_cell_has_prompt_means_an_interval_and_what_real_pictures_have(tmp_path: Path) -> None:
    drawn = [Image.new("RGB", (8, 8), (100, 100 - 10 * step, 100)) for step in range(4)]
    real = tmp_path / "real"
    real.mkdir()
    sample = Sample(
        model="m", generated=pictures(tmp_path, drawn), reference=pictures(real, [Image.new("RGB", (8, 8), "red")]),
        extractor="", preprocessing="",
    )  # fmt: skip
    found = saturation.compute(sample)
    assert found.value == pytest.approx(0.15) and found.per_prompt == pytest.approx({"a": 0.05, "b": 0.25})
    assert found.per_picture["3.png"] == pytest.approx(0.3) and found.interval[0] < 0.15 < found.interval[1]
    assert found.flags == ("the reference pictures have 1",)
    assert sharpness.compute(sample).value == 0
