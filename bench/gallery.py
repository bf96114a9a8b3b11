"""How fast the gallery answers over 20,000 pictures.   python bench/gallery.py [--pictures 20000]

Prints milliseconds for the first question after the studio's start, for later ones, and after one new mark; and the
ratio of a later question to reading every line against the schema, which is what it would cost without an index.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sdstudio import collection
from sdstudio.collection import Query, finding
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import GeneratedImage, ModelRef, SampleSettings, to_json
from sdstudio.workspace import Workspace

FOLDERS = 100
WORDS = ("red", "toy", "cat", "beach", "woman", "hat", "forest", "night")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20_000)
    count = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as place:
        ws = Workspace(Path(place))
        refs = fill(ws, count)
        for number, ref in enumerate(refs[::20]):
            collection.mark(ws, ref, "rating", 1 + number % 5)
        folders = list(ws.images.glob("2*"))
        time.sleep(finding.FILE_CLOCK / 1e9)  # what has just been written is read twice
        first = milliseconds(lambda: collection.pictures(ws))
        page = milliseconds(lambda: collection.pictures(ws, Query(), 600, 60))
        words = milliseconds(lambda: collection.pictures(ws, Query(text="red toy", rating=3)))
        collection.mark(ws, refs[0], "favourite")
        marked = milliseconds(lambda: collection.pictures(ws, Query(favourite=True)))
        schema = milliseconds(lambda: [read_images(folder) for folder in folders])
    print(
        f"{platform.platform()}, {os.cpu_count()} cores; {count:,} pictures in {FOLDERS} batches, {count // 20:,} rated"
    )
    print(f"first question          {first:8.1f} ms")
    print(f"a page                  {page:8.1f} ms, {page / schema:.4f} of reading all lines ({schema:.0f} ms)")
    print(f"by words and rating     {words:8.1f} ms")
    print(f"favourites after a mark {marked:8.1f} ms")


def fill(ws: Workspace, count: int) -> list[str]:
    """Lists of pictures, whose files are empty: nothing here looks into them."""
    refs = []
    for folder in range(FOLDERS):
        place = ws.images / f"202601{folder:02d}-batch"
        place.mkdir(parents=True)
        with (place / "images.jsonl").open("w", encoding="utf-8") as lines:
            for number in range(count // FOLDERS):
                prompt = " ".join(WORDS[(folder + number * step) % len(WORDS)] for step in range(1, 6))
                image = GeneratedImage(
                    file=f"{prompt.replace(' ', '-')}-{number}.png",
                    prompt=prompt,
                    negative_prompt="bad",
                    seed=number,
                    model=ModelRef(label="base"),
                    checkpoint_hash="",
                    settings=SampleSettings(seed=number),
                    width=512,
                    height=512,
                )
                (place / image.file).touch()
                lines.write(json.dumps(to_json(image)) + "\n")
                refs.append(f"images/{place.name}/{image.file}")
    return refs


def milliseconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
