"""A dataset of four cats, for the tests of pages."""

import io

from PIL import Image, ImageDraw

from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.workspace import Workspace

HOSTILE = "a **bold** ![x](http://elsewhere.example/x.png) <b>face</b>"


def four_cats(workspace: Workspace) -> DatasetStore:
    """Four pictures: three with a caption, the first of them hostile, and one without."""
    dataset = create_dataset(workspace, "cats", "Four cats.")
    for index, caption in enumerate([HOSTILE, "a cat on a mat", "a cat in a hat", ""]):
        dataset.add(picture(index), f"cat-{index}.png", caption)
    return dataset


def picture(shade: int, side: int = 64) -> bytes:
    image = Image.new("RGB", (side, side), (40 * shade, 90, 160))
    ImageDraw.Draw(image).ellipse((8 + shade, 8, 50, 50), fill=(250, 210, 60))
    memory = io.BytesIO()
    image.save(memory, "PNG")
    return memory.getvalue()


def ids(store: DatasetStore) -> list[str]:
    return [image.id for image in store.images()]


def captions(store: DatasetStore) -> list[str]:
    return [image.caption for image in store.images()]
