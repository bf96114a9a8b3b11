"""What the caption store costs at scale.   python bench/annotate.py [--pictures 100000]

Small JPEG pictures are drawn into a temporary folder, imported, and asked about as the pages do: every request opens
the store anew, and every filter is asked right after a save, so that nothing is remembered. Times are wall-clock
milliseconds of the studio's side. The import is held against the rate at which the same machine, with as many
threads, only reads, decodes and hashes the same files.
"""

import argparse
import io
import json
import os
import platform
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from sdstudio.datasets import create_dataset, open_dataset, preflight
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.bulk import FindReplace
from sdstudio.datasets.query import Query
from sdstudio.workspace import Workspace

NAME, PAGE, PERSON = "bench", 60, "person:bench"
WORDS = (  # noqa: SIM905
    "asim closeup happy sad young old man woman red blue green hair shirt dress reading walking sitting table chair "
    "street house tree dog cat car book outside inside night daytime simpson family kitchen school smiling holding"
).split()
REGEXES = (r"red \w+", r"(man|woman) sitting", r"^asim.*night$", r"(?i)SIMPSON", r"\b(dog|cat)\b.*\bcar\b", r"hair$")
ONCE = ("bulk edit of all", "its undo", "preflight", "snapshot")
BARS = {"open": 300, "page flip": 300, "filter": 300, "regex": 300, "save": 20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=256, help="pixels a side")
    parser.add_argument("--folder", help="where the temporary files go")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        print(json.dumps(ask(Workspace(arguments.ask))))
        return
    print(machine())
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="sdstudio-bench-") as temporary:
        files = Path(temporary) / "files"
        files.mkdir()
        draw(files, arguments.pictures, arguments.side)
        bytes = sum(file.stat().st_size for file in files.iterdir())
        print(
            f"{arguments.pictures:,} JPEG pictures of {arguments.side} px, {bytes / arguments.pictures / 1000:.1f} kB"
        )
        workspace = Workspace(Path(temporary) / "workspace")
        bring_in(workspace, files)
        command = [sys.executable, __file__, "--ask", str(workspace.root)]
        report(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, load {load}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def draw(folder: Path, count: int, side: int) -> None:
    """Soft colours with a little grain: about as hard to decode as a photo of that size."""
    generator = np.random.default_rng(0)
    grain = [Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(16)]
    for index in range(count):
        corners = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        soft = corners.resize((side, side), Image.Resampling.BILINEAR)
        Image.blend(soft, grain[index % len(grain)], 0.06).save(folder / f"{index:06d}.jpg", quality=80)


def bring_in(workspace: Workspace, folder: Path) -> None:
    files = sorted(folder.iterdir())
    some = files[:10_000]
    for file in some:
        file.read_bytes()
    before = decode_rate(some)
    store = create_dataset(workspace, NAME)
    start = time.perf_counter()
    added = sum(getattr(outcome, "is_new", False) for outcome in store.add_many(new_pictures(files)))
    rate = added / (time.perf_counter() - start)
    after = decode_rate(some)
    start = time.perf_counter()
    store.refresh()
    print(f"decode and hash only  {before:8.0f} and {after:.0f} pictures/s, before and after")
    print(f"import                {rate:8.0f} pictures/s, {rate / ((before + after) / 2):.0%} of that (bar: 60%)")
    print(f"token counts, groups  {time.perf_counter() - start:8.1f} s, once after the import")


def new_pictures(files: list[Path]) -> Iterator[NewPicture]:
    chosen = random.Random(0)
    for index, file in enumerate(files):
        caption = " ".join(["asim", *chosen.choices(WORDS, k=chosen.randint(8, 40))]) if index % 10 else ""
        yield NewPicture(data=file.read_bytes(), file_name=file.name, caption=caption)


def decode_rate(files: list[Path]) -> float:
    def work(file: Path) -> None:
        data = file.read_bytes()
        sha256(data).hexdigest()
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        start = time.perf_counter()
        list(threads.map(work, files))
        return len(files) / (time.perf_counter() - start)


def ask(workspace: Workspace) -> dict[str, list[float]]:
    """Milliseconds of each kind of request, and the peak memory of this process in MB."""
    chosen = random.Random(1)
    store = open_dataset(workspace, NAME)
    ids = store.ids(Query())
    times: dict[str, list[float]] = {kind: [] for kind in (*BARS, *ONCE)}

    def timed(kind: str, request: Callable[[], object]) -> None:
        start = time.perf_counter()
        request()
        times[kind].append((time.perf_counter() - start) * 1000)

    def show(query: Query, page: int = 0) -> None:
        store = open_dataset(workspace, NAME)
        store.counts()
        store.settings()
        store.count(query)
        store.page(query, page * PAGE, PAGE)

    def save() -> None:
        store = open_dataset(workspace, NAME)
        image = store.image(chosen.choice(ids))
        timed("save", lambda: store.set_caption(image.id, f"asim {time.time_ns()}", PERSON, image.version))

    filters = [
        Query(contains="red hair"),
        Query(state="not modified"),
        Query(empty=True),
        Query(too_long=True),
        Query(duplicate_caption=True),
        Query(near_duplicate=True),
        Query(source="person:"),
        Query(differs=True),
        Query(excluded=True),
        Query(without="asim"),
        Query(sort="name"),
        Query(sort="caption", descending=True),
        Query(sort="tokens"),
    ]
    for _ in range(8):
        for query in filters:
            save()
            timed("filter", lambda query=query: show(query))
        for pattern in REGEXES:
            save()
            timed("regex", lambda pattern=pattern: show(Query(regex=pattern)))
        for _ in range(10):
            timed("page flip", lambda: show(Query(), chosen.randrange(len(ids) // PAGE)))
        save()
        timed("open", lambda: show(Query()))
    timed("bulk edit of all", lambda: store.bulk(Query(), FindReplace(find="a", replacement="A"), PERSON))
    timed("its undo", lambda: store.undo_bulk(PERSON))
    timed("preflight", lambda: preflight.check(store))
    timed("snapshot", store.snapshot)
    times["memory"] = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000]
    return times


def report(times: dict[str, list[float]]) -> None:
    (memory,) = times.pop("memory")
    print(f"{'':22}{'median':>8}{'p95':>8}{'bar':>8}  ms")
    for kind, values in times.items():
        median, high = np.percentile(values, (50, 95))
        print(f"{kind:22}{median:8.1f}{high:8.1f}{BARS.get(kind, ''):>8}  of {len(values)}")
    print(f"peak memory of the process that answered: {memory:.0f} MB (bar: 600)")


if __name__ == "__main__":
    main()
