"""How pictures become square: what is kept, what is cut, and that the picture itself stays."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from sdstudio.datasets import create_dataset, fit
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace


def with_detail(size: tuple[int, int], box: tuple[int, int, int, int], seed: int = 0) -> Image.Image:
    """A grey picture with coloured noise in `box`."""
    picture = Image.new("RGB", size, (120, 120, 120))
    noise = np.random.default_rng(seed).integers(0, 256, (box[3] - box[1], box[2] - box[0], 3), dtype=np.uint8)
    picture.paste(Image.fromarray(noise), box)
    return picture


@pytest.mark.parametrize("choice", sorted(set(fit.CHOICES) - {"face", "none"}))
@pytest.mark.parametrize("size", [(400, 200), (200, 400), (64, 64), (7, 300), (1, 1)])
def test_every_fit_makes_a_square_and_keeps_the_original(choice, size):
    picture = with_detail(size, (0, 0, *size))
    before = picture.tobytes()
    made = fit.apply(picture, choice, 64)
    assert (made.size, made.mode) == ((64, 64), "RGB")
    assert picture.tobytes() == before


def test_the_centre_is_the_centre():
    picture = Image.new("RGB", (300, 100), "red")
    picture.paste("blue", (100, 0, 200, 100))
    assert np.asarray(fit.apply(picture, "centre", 50)).reshape(-1, 3).mean(axis=0)[2] > 240
    assert fit.window(picture, "centre") == (100, 0, 200, 100)


@pytest.mark.parametrize(
    ("box", "expected"), [((0, 0, 80, 100), 0.0), ((220, 0, 300, 100), 1.0), ((120, 20, 180, 80), 0.5)]
)
@pytest.mark.parametrize("upright", [False, True])
def test_the_smart_crop_keeps_the_detail(box, expected, upright):
    picture = with_detail((300, 100), box)
    if upright:
        picture, box = picture.transpose(Image.Transpose.TRANSPOSE), (box[1], box[0], box[3], box[2])
    left, top, right, bottom = fit.window(picture, "smart")
    assert (right - left, bottom - top) == (100, 100)
    assert left <= box[0] and top <= box[1] and right >= box[2] and bottom >= box[3]
    assert fit.offset(picture, "smart") == pytest.approx(expected, abs=0.25)


def test_a_plain_picture_is_cut_in_the_middle():
    assert fit.offset(Image.new("RGB", (500, 100), "grey"), "smart") == pytest.approx(0.5, abs=0.01)


def test_borders_keep_all_of_the_picture():
    picture = Image.new("RGB", (200, 100), "blue")
    white = np.asarray(fit.apply(picture, "white", 80))
    assert (white[:20] == 255).all() and (white[60:] == 255).all()
    assert (white[21:59] == (0, 0, 255)).all()
    blurred = np.asarray(fit.apply(picture, "blur", 80))
    assert (blurred == (0, 0, 255)).all()


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((512, 512), 512, (512, 512)),
        ((1024, 512), 512, (704, 384)),
        ((100, 900), 512, (256, 1024)),
        ((80, 60), 64, (72, 56)),
    ],
)
def test_buckets_keep_the_shape_and_the_area(size, side, expected):
    assert fit.bucket(*size, side) == expected
    assert fit.apply(with_detail(size, (0, 0, 10, 10)), "none", side).size == expected
    assert 0.7 < expected[0] * expected[1] / side**2 < 1.1


@pytest.mark.parametrize(
    ("choice", "size", "share"),
    [
        ("centre", (200, 100), 0.5),
        ("smart", (100, 400), 0.75),
        ("white", (100, 400), 0),
        ("none", (512, 512), 0),
        ("none", (8000, 1000), 0.5),
    ],
)
def test_the_share_that_is_lost(choice, size, share):
    assert fit.lost(*size, choice, 512) == pytest.approx(share, abs=0.01)


def test_what_cannot_be_done_is_said(monkeypatch):
    with pytest.raises(UserError, match="There is no fit 'stretch'"):
        fit.apply(Image.new("RGB", (8, 8)), "stretch", 8)
    monkeypatch.setattr(fit, "_cascade", lambda: None)
    assert not fit.faces_can_be_found()
    with pytest.raises(UserError, match="needs OpenCV 4, which is not installed"):
        fit.apply(Image.new("RGB", (8, 8)), "face", 8)


@pytest.mark.parametrize(
    ("box", "expected"), [((10, 20, 40, 40), 0.0), ((130, 0, 40, 40), 0.5), ((250, 30, 40, 40), 1.0)]
)
def test_the_face_crop_is_around_the_face(monkeypatch, box, expected):
    class Detector:
        def detectMultiScale(self, grey, **_):
            assert grey.shape == (100, 300)
            return np.array([box])

    monkeypatch.setattr(fit, "_cascade", Detector)
    assert fit.offset(Image.new("RGB", (300, 100)), "face") == expected


@pytest.mark.skipif(not fit.faces_can_be_found(), reason="needs OpenCV 4")
def test_a_drawn_face_is_found():
    picture = Image.new("RGB", (600, 240), (90, 110, 140))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((364, 50, 476, 190), fill=(225, 185, 160))
    for eye in (395, 445):
        draw.ellipse((eye - 12, 94, eye + 12, 107), fill=(60, 40, 35))
        draw.rectangle((eye - 17, 85, eye + 17, 91), fill=(80, 55, 45))
    draw.polygon([(420, 106), (412, 134), (428, 134)], fill=(240, 205, 180))
    draw.rectangle((410, 134, 430, 138), fill=(170, 120, 105))
    draw.ellipse((398, 152, 442, 162), fill=(150, 70, 70))
    left, _, right, _ = fit.window(picture.filter(ImageFilter.GaussianBlur(2)), "face")
    assert left <= 364 and right >= 476


def test_without_a_face_the_face_crop_is_the_smart_one(monkeypatch):
    monkeypatch.setattr(fit, "_faces", lambda picture: [])
    picture = with_detail((300, 100), (220, 0, 300, 100))
    assert fit.offset(picture, "face") == fit.offset(picture, "smart") > 0.8


def test_the_choice_is_kept_in_the_dataset_and_its_snapshots(tmp_path):
    from dataclasses import replace

    store = create_dataset(Workspace(tmp_path), "set", pictures=[])
    with pytest.raises(UserError, match="choose one of centre, smart"):
        store.save_settings(replace(store.settings(), fit="stretch"))
    assert store.settings().fit == fit.CENTRE
    store.save_settings(replace(store.settings(), fit="blur"))
    assert create_dataset(Workspace(tmp_path), "other").settings().fit == fit.CENTRE
    assert store.settings().fit == "blur"
