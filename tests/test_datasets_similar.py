"""Near-duplicates: copies that were resized, recompressed or brightened are found; other pictures are not."""

import io
import random

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from sdstudio.datasets import create_dataset, similar
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.query import Query
from sdstudio.starter.drawing import render
from sdstudio.starter.world import random_scene
from sdstudio.workspace import Workspace


def scenes(count: int) -> list[Image.Image]:
    chosen = random.Random(7)
    return [render(random_scene(chosen)).resize((160, 160), Image.Resampling.BICUBIC) for _ in range(count)]


def recompressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


ALIKE = {
    "smaller": lambda picture: picture.resize((64, 64), Image.Resampling.LANCZOS),
    "recompressed": recompressed,
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.04),
    "cropped a little": lambda picture: picture.crop((1, 1, 159, 159)),
}


def stack(pictures) -> np.ndarray:
    return np.stack([np.frombuffer(similar.fingerprint(picture), dtype=np.uint8) for picture in pictures])


@pytest.mark.parametrize("kind", ALIKE)
def test_copies_are_found(kind):
    originals = scenes(12)
    numbers = similar.groups(stack([*originals, *map(ALIKE[kind], originals)]))
    assert (numbers[:12] == numbers[12:]).all()
    assert (numbers[:12] >= 0).all()


def test_a_shape_in_two_colours_is_two_pictures():
    plain = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue", "white", "black", "grey")]
    assert (similar.groups(stack(plain)) == -1).all()
    assert similar.groups(stack([*plain, plain[2]])).tolist() == [-1, -1, 2, -1, -1, -1, 2]


def all_pairs(fingerprints: np.ndarray) -> np.ndarray:
    """Oracle: every pair is compared; the groups by repeated spreading of the smallest index."""
    wide = fingerprints.astype(float)
    linked = np.sqrt(((wide[:, None] - wide[None]) ** 2).mean(axis=2)) <= similar.MAX_DIFFERENCE
    groups = np.arange(len(wide))
    for _ in range(len(wide)):
        groups = np.array([groups[linked[index]].min() for index in range(len(wide))])
    return np.where(linked.sum(axis=1) > 1, groups, -1)


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_those_of_comparing_every_pair(seed):
    """150 fingerprints in chains of small steps, so that groups join through their middle."""
    generator = np.random.default_rng(seed)
    fingerprints = []
    for _ in range(15):
        fingerprints.append(generator.integers(40, 216, similar.SIZE))
        for _ in range(9):
            step = generator.normal(size=similar.SIZE) * generator.uniform(6, 12)
            fingerprints.append(np.clip(fingerprints[-1] + step, 0, 255))
    shuffled = np.array(fingerprints, dtype=np.uint8)[generator.permutation(150)]
    expected = all_pairs(shuffled)
    assert 10 < (expected >= 0).sum() < 150
    assert similar.groups(shuffled).tolist() == expected.tolist()


def test_thousands_of_frames_of_one_scene_are_one_group():
    generator = np.random.default_rng(0)
    frames = generator.integers(60, 200, similar.SIZE) + generator.integers(-5, 6, (4_000, similar.SIZE))
    other = generator.integers(0, 256, (500, similar.SIZE))
    numbers = similar.groups(np.concatenate([frames, other]).astype(np.uint8))
    assert (numbers[:4_000] == 0).all()
    assert (numbers[4_000:] == -1).all()


def new(picture: Image.Image) -> NewPicture:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return NewPicture(data=buffer.getvalue(), file_name="x.png")


def test_a_few_new_pictures_join_groups_as_all_anew_would(tmp_path, monkeypatch):
    """Pictures come one by one between others, so that groups grow, and two become one."""
    start, end = scenes(2)
    steps = [Image.blend(start, end, share) for share in (0, 0.3, 0.1, 0.7, 1, 0.2, 0.6, 0.9, 0.5, 0.8, 0.4)]
    store = create_dataset(Workspace(tmp_path), "set")
    several = set()
    for picture in steps:
        list(store.add_many([new(picture)]))
        grouped = store.ids(Query(near_duplicate=True, sort="similar"))
        with store._database.read() as connection:
            gradual = connection.execute("SELECT position, near FROM image ORDER BY position").fetchall()
        pixels = stack(steps[: len(gradual)])
        anew = similar.groups(pixels)
        assert [row["near"] for row in gradual] == [number + 1 if number >= 0 else None for number in anew.tolist()]
        assert len(grouped) == (anew >= 0).sum()
        several.add(len(set(anew.tolist()) - {-1}))
    assert {0, 1, 2} <= several


def test_groups_grow_with_the_dataset_and_forget_deleted_pictures(tmp_path):
    store = create_dataset(Workspace(tmp_path), "set")
    first, second = scenes(2)
    list(store.add_many([new(first), new(second)]))
    assert store.ids(Query(near_duplicate=True)) == []
    a, b = store.ids(Query())
    (copy,) = (outcome.id for outcome in store.add_many([new(ALIKE["brighter"](second))]))
    assert store.ids(Query(near_duplicate=True)) == [b, copy]
    assert store.ids(Query(sort="similar")) == [b, copy, a]
    store.bulk([copy], Mark(what="delete"))
    assert store.ids(Query(near_duplicate=True)) == []


def test_an_older_dataset_gets_fingerprints_from_its_files(tmp_path):
    store = create_dataset(Workspace(tmp_path), "set")
    picture, other = scenes(2)
    for index, one in enumerate((picture, ALIKE["smaller"](picture), other)):
        buffer = io.BytesIO()
        one.save(buffer, "PNG")
        store.add(buffer.getvalue(), f"{index}.png")
    with store._database.write() as connection:
        connection.execute("DELETE FROM fingerprint")
    first, second, third = store.ids(Query())
    store.image_path(third).unlink()
    assert store.ids(Query(near_duplicate=True)) == [first, second]
