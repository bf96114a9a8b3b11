"""The pictures that the caption editor holds around the shown one: pytest tests/test_annotate_window.py"""

import io

import pytest
from PIL import Image

from sdstudio.datasets import create_dataset
from sdstudio.datasets.query import Query
from sdstudio.ui import captioning
from sdstudio.workspace import Workspace


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(captioning, "AHEAD", 3)
    monkeypatch.setattr(captioning, "BEHIND", 2)
    monkeypatch.setattr(captioning, "FARTHEST", 6)
    pictures = []
    for shade in range(20):
        memory = io.BytesIO()
        Image.new("RGB", (8, 8), (10 * shade, 0, 90)).save(memory, "PNG")
        pictures.append((memory.getvalue(), f"{shade:02}.png", "a cat"))
    return create_dataset(Workspace(tmp_path), "set", pictures=pictures)


@pytest.mark.parametrize(
    ("place", "reach", "first", "last"),
    [
        (10, 0, 8, 13),
        (10, 2, 8, 13),
        (10, 5, 8, 15),
        (10, -5, 5, 13),
        (10, 1000, 8, 16),
        (10, -1000, 4, 13),
        (0, -1000, 0, 3),
        (19, 1000, 17, 19),
    ],
)
def test_fast_hands_get_more_pictures_in_the_way_they_go(store, place, reach, first, last):
    names = [image.file_name for image in store.images()]
    shown = store.images()[place]
    window = captioning.window(store, Query(), shown.id, reach)
    assert [image.file_name for image in window.images] == names[first : last + 1]
    assert (window.index, window.total) == (place, 20)


def test_a_picture_that_left_the_filter_keeps_its_place_among_more(store):
    shown = store.images()[10]
    store.set_caption(shown.id, "a dog", "person:ann", shown.version)
    window = captioning.window(store, Query(contains="cat"), shown.id, 5)
    assert [image.file_name for image in window.images] == [f"{place:02}.png" for place in range(8, 16)]
    assert (window.index, window.total) == (None, 19)
