"""How pictures become square: what is kept, what is cut, and that the picture itself stays."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdstudio.datasets import create_dataset, fit
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace

PHOTO = Path(__file__).parent / "astronaut.jpg"


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


@pytest.mark.parametrize("choice", sorted(fit.CHOICES))
def test_the_preview_shows_all_and_fades_what_is_cut_off(monkeypatch, choice):
    monkeypatch.setattr(fit, "faces", lambda picture: [(10, 30, 20, 20)])
    picture = Image.new("RGB", (300, 100), "blue")
    made = np.asarray(fit.preview(picture, choice, 90))
    assert made.shape == (90, 90, 4)
    middle = made[45]
    if choice in ("white", "blur"):
        assert (made[..., 3] == 255).all()
    else:
        assert (made[10] == 0).all()  # nothing above a wide picture
        left, _, right, _ = (round(edge * 0.3) for edge in fit.window(picture, choice))
        assert (middle[left + 2 : right - 2, 2:] > 250).all()
        assert (middle[: max(0, left - 2), 3] < 100).all() and (middle[right + 2 :, 3] < 100).all()
        assert (middle[1:-1, 3] > 0).all()


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


@pytest.fixture
def photo():
    """A person beside a flag and a model of the Space Shuttle: Eileen Collins (NASA, in the public domain)."""
    with Image.open(PHOTO) as picture:
        return picture.convert("RGB")


FACE = (111, 42, 170, 101)
"""Where it is in the photo, looked up by eye: forehead to chin, cheek to cheek."""


@pytest.mark.parametrize("box", [(0, 0, 320, 160), (0, 20, 320, 120), (90, 0, 320, 110), (60, 0, 190, 320)])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("scale", [1, 3])
def test_the_face_in_a_photo_is_kept_whole(photo, box, mirrored, scale):
    pytest.importorskip("cv2")
    cut = photo.crop(box).resize(((box[2] - box[0]) * scale, (box[3] - box[1]) * scale))
    face = [(edge - start) * scale for edge, start in zip(FACE, box[:2] * 2, strict=True)]
    if mirrored:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        face = [cut.width - face[2], face[1], cut.width - face[0], face[3]]
    left, top, right, bottom = fit.window(cut, "face")
    assert left <= face[0] and top <= face[1] and right >= face[2] and bottom >= face[3]


def test_the_centre_crop_of_that_photo_cuts_the_face(photo):
    left, *_ = fit.window(photo.crop((90, 0, 320, 110)), "centre")
    assert left > FACE[0] - 90


def test_faces_are_looked_for_in_several_threads(photo):
    pytest.importorskip("cv2")
    pictures = [photo.resize((side, side)) for side in (320, 200, 260, 150)] * 6
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fit.faces, pictures))
    assert found == [fit.faces(picture) for picture in pictures[:4]] * 6


def test_no_face_is_seen_where_there_is_none(photo):
    pytest.importorskip("cv2")
    assert [len(fit.faces(picture)) for picture in (photo, photo.crop((180, 0, 320, 120)))] == [1, 0]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8))
    assert fit.faces(noise) == []
    assert fit.offset(noise, "face") == fit.offset(noise, "smart")


def test_without_a_face_the_face_crop_is_the_smart_one(monkeypatch):
    monkeypatch.setattr(fit, "faces", lambda picture: [])
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
