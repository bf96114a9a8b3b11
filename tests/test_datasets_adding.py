"""Many pictures at once: in order, once each, durable when said, nothing left behind.

pytest tests/test_datasets_adding.py
"""

import io
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdstudio.datasets import adding, create_dataset, open_dataset, saving
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.intake import RefusedPicture
from sdstudio.datasets.query import Query
from sdstudio.datasets.saving import Added
from sdstudio.schema import UserError
from sdstudio.workspace import Workspace


def new(seed: int, **what) -> NewPicture:
    pixels = np.random.default_rng(seed).integers(0, 256, (300, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return NewPicture(data=buffer.getvalue(), file_name=f"{seed}.png", **what)


@pytest.fixture
def store(tmp_path):
    return create_dataset(Workspace(tmp_path), "set")


def test_outcomes_come_in_the_order_of_the_pictures(store, monkeypatch):
    monkeypatch.setattr(adding, "BATCH_PICTURES", 4)
    first = new(0, caption="from before")
    store.add(first.data, "0.png")
    broken = NewPicture(data=b"nothing", file_name="broken.png")
    pictures = [new(1, caption="one"), broken, first, new(2), new(1, caption="again"), *map(new, range(3, 12)), broken]
    outcomes = list(store.add_many(pictures))
    assert [type(outcome) for outcome in outcomes] == [
        RefusedPicture if picture is broken else Added for picture in pictures
    ]
    assert [outcome.is_new for outcome in outcomes if isinstance(outcome, Added)] == [
        True, False, True, False, *[True] * 9
    ]  # fmt: skip
    images = store.images()
    assert [image.file_name for image in images] == [f"{index}.png" for index in range(12)]
    assert [image.caption for image in images[:3]] == ["from before", "one", ""]
    assert [entry.action for entry in store.history(images[0].id)] == ["add", "edit"]
    assert {image.version for image in images[1:]} == {1}
    for image in images:
        assert Image.open(store.image_path(image.id)).size == (5, 300)
        assert (store.folder / "thumbs" / f"{image.id}.jpg").stat().st_size
    assert list((store.folder / "incoming").iterdir()) == []


def test_what_was_yielded_is_there_and_few_are_read_ahead(store, monkeypatch):
    monkeypatch.setattr(adding, "BATCH_PICTURES", 4)
    monkeypatch.setattr(adding, "CHUNK_PICTURES", 2)
    taken = []

    def endless():
        for seed in count():
            taken.append(seed)
            yield new(seed)

    outcomes = store.add_many(endless())
    for done in range(1, 10):
        outcome = next(outcomes)
        assert outcome.is_new
        ahead = adding.CHUNK_PICTURES * (2 * (os.cpu_count() or 1) + 2)
        assert len(taken) <= done + 2 * adding.BATCH_PICTURES + ahead
        other = open_dataset(Workspace(store.folder.parents[1]), "set")
        assert other.image_path(outcome.id).is_file()
    outcomes.close()
    assert list((store.folder / "incoming").iterdir()) == []
    assert {image.id for image in store.images()} >= {outcome.id}


def test_large_files_are_not_read_far_ahead(store, monkeypatch):
    size = len(new(0).data)
    monkeypatch.setattr(adding, "AHEAD_BYTES", 2 * size)
    monkeypatch.setattr(adding, "CHUNK_BYTES", 1)
    monkeypatch.setattr(adding, "BATCH_PICTURES", 1)
    monkeypatch.setattr(adding, "_CORES", 100)
    taken = []

    def endless():
        for seed in count():
            taken.append(seed)
            yield new(seed)

    outcomes = store.add_many(endless())
    for done in range(1, 6):
        next(outcomes)
        assert len(taken) <= done + 5
    outcomes.close()


def test_a_refusal_holds_nothing_of_its_picture(store):
    cut = NewPicture(data=new(1).data[:-40], file_name="cut.png")
    (refused,) = store.add_many([cut])
    assert isinstance(refused, RefusedPicture)
    assert (refused.__traceback__, refused.__cause__, refused.__context__) == (None, None, None)


def test_a_slow_source_is_saved_as_it_comes(store, monkeypatch):
    monkeypatch.setattr(adding, "BATCH_SECONDS", 0.0)
    monkeypatch.setattr(adding, "CHUNK_PICTURES", 1)
    monkeypatch.setattr(adding, "_CORES", 1)
    taken = []

    def slow():
        for seed in range(12):
            taken.append(seed)
            yield new(seed)

    outcomes = store.add_many(slow())
    next(outcomes)
    assert len(taken) < 12
    assert len(list(outcomes)) == 11


def test_a_small_dataset_is_made_whole_or_not_at_all(tmp_path):
    ws = Workspace(tmp_path)
    with pytest.raises(RefusedPicture):
        create_dataset(ws, "set", pictures=[(new(1).data, "1.png", ""), (b"no", "2.png", "")])
    assert list(ws.datasets.iterdir()) == []


def test_a_full_disk_is_one_sentence(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "_sync", full)
    with pytest.raises(UserError, match=r"cannot be stored in .*: No space left on device"):
        list(store.add_many([new(1)]))
    assert store.images() == []
    assert list((store.folder / "incoming").iterdir()) == []


def test_leftovers_of_a_killed_import_go_after_a_day(store):
    kept, gone, young = new(1), new(2), new(3)
    store.add(kept.data, "1.png")
    written = {}
    for picture, hours in ((gone, 30), (young, 1)):
        for part, suffix in (("images", "png"), ("thumbs", "jpg")):
            left = store.folder / part / f"{sha256(picture.data).hexdigest()}.{suffix}"
            left.write_bytes(b"half")
            os.utime(left, (time.time() - hours * 3600,) * 2)
            written[left] = hours
    os.utime(store.image_path(store.ids(Query())[0]), (time.time() - 90 * 3600,) * 2)
    began = store.folder / "incoming" / "killed"
    began.mkdir()
    store.add(new(4).data, "4.png")
    assert all(left.exists() for left in written), "the kill may have been a moment ago"
    os.utime(began, (time.time() - 30 * 3600,) * 2)
    store.add(new(5).data, "5.png")
    assert {left for left in written if left.exists()} == {left for left, hours in written.items() if hours == 1}
    assert not began.exists()
    assert all(store.image_path(id).exists() for id in store.ids(Query()))


def test_what_a_killed_import_left_half_written_is_replaced(store):
    picture = new(1)
    id = sha256(picture.data).hexdigest()
    for part, suffix in (("images", "png"), ("thumbs", "jpg")):
        (store.folder / part / f"{id}.{suffix}").write_bytes(b"half")
    assert store.add(picture.data, "1.png") == (id, True)
    assert store.image_path(id).read_bytes() == picture.data
    assert Image.open(store.thumb_path(id)).size[1] == 256
    assert [file.name for file in (store.folder / "images").iterdir()] == [f"{id}.png"]


IMPORTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_datasets_adding import new
from sdstudio.datasets import DatasetStore, adding
adding.BATCH_PICTURES = 8
start = int(sys.argv[2])
pictures = (new(seed, caption=f"number {seed}") for seed in range(start, 10_000))
for outcome in DatasetStore(Path(sys.argv[1])).add_many(pictures):
    print(outcome.id, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_import_keeps_what_it_said(store, tmp_path):
    chosen = random.Random(0)
    said: set[str] = set()
    for round in range(3):
        file = tmp_path / f"said-{round}"
        with file.open("wb") as output:
            command = [sys.executable, "-c", IMPORTER, str(store.folder), str(round * 5), str(Path(__file__).parent)]
            process = subprocess.Popen(command, stdout=output, cwd=Path(__file__).parents[1])
        try:
            deadline = time.monotonic() + 60
            while not file.stat().st_size and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(chosen.uniform(0, 0.3))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        said |= {line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")}
    assert said
    stored = {image.id: image for image in store.images()}
    for line in said:
        image = stored[line.strip()]
        with Image.open(store.image_path(image.id)) as picture:
            picture.load()
        assert image.caption == f"number {image.file_name.removesuffix('.png')}"
    assert store.count(Query()) == len(stored)
    with store._database.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
