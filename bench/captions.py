"""Captions beside the way the public caption tools make and keep them.   python bench/captions.py [--pictures 200]

Drafts: the studio's job against the loop of BLIP's model card (one picture at a time: open, prepare, generate, decode;
a table at the end), the same model, the same beam search, in turns. The drafts of both are the same words.

Edits: saving one caption durably, the studio's way (one transaction, history kept) against the tool that holds the
table in memory and writes the whole CSV after each edit, in datasets of some and of many captions.
"""

import argparse
import io
import os
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas
import torch
from PIL import Image
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

from sdstudio.captioners.blip import STARTER, BlipOptions, generate_arguments
from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.captioning import run_caption
from sdstudio.jobs.context import JobContext
from sdstudio.schema import CaptionConfig
from sdstudio.starter.drawing import render
from sdstudio.starter.world import random_scene
from sdstudio.workspace import Workspace

ROUNDS, EDITS = 3, 50


class Cost(NamedTuple):
    clock: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200)
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as place:
        ws = Workspace(Path(place) / "workspace")
        ws.root.mkdir()
        drafts(ws, draw_pictures(Path(place) / "pictures", arguments.pictures))
        for rows in (2_500, 25_000):
            edits(ws, Path(place) / "captions.csv", rows)


# ---------------------------------------------------------------- drafts


def draw_pictures(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    rng = random.Random(0)
    files = [folder / f"{number:05}.png" for number in range(count)]
    for file in files:
        render(random_scene(rng)).save(file)
    return files


def drafts(ws: Workspace, files: list[Path]) -> None:
    plain, ours = [], []
    said: list[str] = []
    for turn in range(ROUNDS):
        store = create_dataset(ws, f"turn-{turn}")
        for file in files:
            store.add(file.read_bytes(), file.name)
        plain.append(timed(lambda: said.extend(one_by_one(files, files[0].with_name("captions.csv")))))
        ours.append(timed(lambda store=store: studio_drafts(ws, store)))
        drafted = {image.file_name: image.machine_caption for image in store.images()}
        same = sum(drafted[file.name] == text for file, text in zip(files, said, strict=True))
        said.clear()
    tell(f"drafts of {len(files)} pictures", "pictures/s", len(files), plain, ours)
    print(f"{'':32}the same words for {same} of {len(files)} pictures")


def one_by_one(files: list[Path], table: Path) -> list[str]:
    """The loop of the model card, with a CSV at its end."""
    model = BlipForConditionalGeneration.from_pretrained(STARTER)
    processor, tokenizer = BlipImageProcessorPil.from_pretrained(STARTER), AutoTokenizer.from_pretrained(STARTER)
    arguments = generate_arguments(BlipOptions(), model.config.text_config.max_position_embeddings)
    rows = []
    for file in files:
        pixels = processor(Image.open(file).convert("RGB"), return_tensors="pt").pixel_values
        with torch.no_grad():
            tokens = model.generate(pixel_values=pixels, **arguments)
        rows.append({"file_name": file.name, "text": tokenizer.decode(tokens[0], skip_special_tokens=True).strip()})
    pandas.DataFrame(rows).to_csv(table, index=False)
    return [row["text"] for row in rows]


def studio_drafts(ws: Workspace, store: DatasetStore) -> None:
    folder = ws.tasks / store.name
    folder.mkdir(parents=True)
    assert run_caption(CaptionConfig(dataset=store.name), JobContext(ws, folder))


# ---------------------------------------------------------------- edits


def edits(ws: Workspace, table: Path, rows: int) -> None:
    """Save captions here and there in a dataset of `rows`; milliseconds each."""
    store = create_dataset(ws, f"edits-{rows}")
    captions = [f"asim. a caption of a picture, number {number}, long enough to be real" for number in range(rows)]
    for _ in store.add_many(
        NewPicture(data=tiny(number), file_name=f"{number}.png", caption=text) for number, text in enumerate(captions)
    ):
        pass
    frame = pandas.DataFrame({"file_name": [f"{number}.png" for number in range(rows)], "text": captions})
    chosen = random.Random(0).sample([image.id for image in store.images()], EDITS)

    def whole_table(number: int) -> None:
        frame.loc[number, "text"] = f"asim. edited {number}"
        frame.to_csv(table, index=False)
        with table.open("rb+") as file:
            os.fsync(file.fileno())

    def ours_one(number: int) -> None:
        image = store.image(chosen[number])
        store.set_caption(image.id, f"asim. edited {number}", "person", image.version)

    plain = [timed(lambda number=number: whole_table(number)) for number in range(EDITS)]
    ours = [timed(lambda number=number: ours_one(number)) for number in range(EDITS)]
    tell(f"one edit among {rows:,}", "edits/s", 1, plain, ours)
    shutil.rmtree(ws.datasets / store.name)


def tiny(number: int) -> bytes:
    """A PNG that no other number gives."""
    data = io.BytesIO()
    Image.frombytes("RGB", (4, 4), number.to_bytes(48, "big")).save(data, "PNG")
    return data.getvalue()


# ---------------------------------------------------------------- telling


def timed(act: Callable[[], object]) -> Cost:
    began, busy = time.perf_counter(), time.process_time()
    act()
    return Cost(time.perf_counter() - began, time.process_time() - busy)


def tell(what: str, unit: str, count: int, plain: list[Cost], ours: list[Cost]) -> None:
    slow, fast = (Cost(*(statistics.median(column) for column in zip(*costs, strict=True))) for costs in (plain, ours))
    print(
        f"{what:<32}ours {count / fast.clock:9.1f} {unit}   plain {count / slow.clock:9.1f} {unit}   "
        f"× {slow.clock / fast.clock:.2f} by the clock, × {slow.processor / fast.processor:.2f} by the processor"
    )


if __name__ == "__main__":
    main()
