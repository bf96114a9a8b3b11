"""Writers are killed with SIGKILL at random points: what they were told is saved is saved, and nothing is half done."""

import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.workspace import Workspace

WRITER = """
import random, sys, time
from pathlib import Path
from sdstudio.datasets import Conflict, DatasetStore
from sdstudio.datasets.bulk import Prefix
from sdstudio.datasets.query import Query
folder, name = Path(sys.argv[1]), sys.argv[2]
store = DatasetStore(folder)
ids = store.ids(Query())
while True:
    id, text = random.choice(ids), f"{name} {time.time_ns()}"
    try:
        after = store.set_caption(id, text, f"person:{name}", store.image(id).version)
        print("edit", id, after.version, text, flush=True)
    except Conflict:
        pass
    if random.random() < 0.2:
        result = store.bulk(ids, Prefix(text=str(time.time_ns())), f"person:{name}")
        print("bulk", result.id, result.changed, flush=True)
    time.sleep(random.uniform(0, 0.02))  # let the others have a turn
"""


class Writer:
    """A writing process; each start appends what it says to one file."""

    def __init__(self, store: DatasetStore, said: Path) -> None:
        self.said = said
        with said.open("ab") as output:
            command = [sys.executable, "-c", WRITER, str(store.folder), said.name]
            self.process = subprocess.Popen(command, stdout=output, cwd=Path(__file__).parents[1])
            self.size = said.stat().st_size

    def wait_for_a_word(self) -> None:
        deadline = time.monotonic() + 120
        while self.said.stat().st_size == self.size and time.monotonic() < deadline:
            assert self.process.poll() is None, "the writer ended by itself"
            time.sleep(0.005)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def complete_lines(file: Path) -> list[list[str]]:
    """What the writer said in whole lines: a kill may cut one, and the next start writes on behind it."""
    lines = [line.split(" ") for line in file.read_text().split("\n")[:-1]]
    return [line for line in lines if (line[0] == "edit" and len(line) == 5) or (line[0] == "bulk" and len(line) == 3)]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_killed_writers_lose_no_acknowledged_edit(tmp_path, kills):
    store = create_dataset(Workspace(tmp_path / "workspace"), "set")
    for colour in ("red", "green", "blue", "white"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
        store.add(buffer.getvalue(), f"{colour}.png")
    chosen = random.Random(kills)
    said = [tmp_path / f"writer-{number}" for number in range(3)]
    writers = [Writer(store, file) for file in said]
    try:
        for _ in range(kills):
            turn = chosen.randrange(3)
            writers[turn].wait_for_a_word()
            time.sleep(chosen.uniform(0, 0.1))
            writers[turn].kill()
            writers[turn] = Writer(store, said[turn])
    finally:
        for writer in writers:
            writer.kill()
    histories = {image.id: store.history(image.id) for image in store.images()}
    lines = [line for file in said for line in complete_lines(file)]
    edits = [line for line in lines if line[0] == "edit"]
    assert len(edits) >= kills
    for _, id, version, *text in edits:
        entry = histories[id][int(version) - 1]
        assert (entry.version, entry.caption) == (int(version), " ".join(text))
    for _, number, changed in (line for line in lines if line[0] == "bulk"):
        entries = [entry for history in histories.values() for entry in history if entry.bulk == int(number)]
        assert len(entries) == int(changed)
    for image in store.images():
        history = histories[image.id]
        assert [entry.version for entry in history] == list(range(1, len(history) + 1))
        assert (image.caption, image.version) == (history[-1].caption, history[-1].version)
    for entry in store.bulk_log(100_000):
        assert sum(row.bulk == entry.id for history in histories.values() for row in history) == entry.changed
    with store._database.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
