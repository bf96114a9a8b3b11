"""What the Annotate page costs at scale.   python bench/annotate.py [--pictures 100000] [--folder PLACE]

Pictures are drawn, imported as the import job does it, and asked about as the page does: Streamlit runs the page's
own script, and nothing is remembered from the request before. Times are wall-clock milliseconds of the studio's side.

The import is held against the rate at which the same machine, with as many threads of one process, only reads, hashes
and decodes the same files; the two take turns. Choose a PLACE where no other program deletes files meanwhile: ext4
looks for a free inode past every one that was just deleted.
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from sdstudio import jobs
from sdstudio.datasets import open_dataset, preflight, store
from sdstudio.datasets.bulk import FindReplace
from sdstudio.datasets.query import Query
from sdstudio.schema import ImportConfig
from sdstudio.ui.captioning import Edit, Message, act
from sdstudio.workspace import ENV_VAR, Workspace

ROOT = Path(__file__).parents[1]
NAME, PAGE = "bench", 60
SMALL, CAMERA = (256, 256), (4000, 3000)
ORIENTATION, TURNED = 0x0112, 6
PARTS = 5
WORDS = (  # noqa: SIM905
    "asim closeup happy sad young old man woman red blue green hair shirt dress reading walking sitting table chair "
    "street house tree dog cat car book outside inside night daytime simpson family kitchen school smiling holding"
).split()
REGEXES = (r"{a} \w+", r"({a}|{b}) {c}", r"^asim.*{a}$", r"(?i){A}", r"\b({a}|{b})\b.*\b{c}\b", r"{a}$")
FILTERS = (
    {"state": "Not modified"},
    {"state": "Modified"},
    {"only": ["Empty"]},
    {"only": ["Too long"]},
    {"only": ["Duplicate captions"]},
    {"only": ["Near-duplicate pictures"]},
    {"only": ["Differs from the machine's"]},
    {"only": ["Small"]},
    {"sort": "File name"},
    {"sort": "Caption"},
    {"sort": "Tokens"},
    {"sort": "Look-alikes together"},
)
BARS = {"open the page": 300, "page flip": 300, "filter": 300, "words": 300, "regex": 300, "save and next": 20}
ONCE = ("regex with a repeat in a repeat", "bulk edit of all", "its undo", "preflight", "snapshot")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--camera", type=int, default=60, help="pictures of 12 million pixels")
    parser.add_argument("--folder", help="where the temporary files go")
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        print(json.dumps(ask(Workspace(arguments.ask))))
        return
    print(machine())
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="sdstudio-bench-") as temporary:
        workspace = Workspace(Path(temporary) / "workspace")
        workspace.root.mkdir()
        compare_import(workspace, Path(temporary), arguments.pictures, arguments.camera)
        command = [sys.executable, __file__, "--ask", str(workspace.root)]
        environment = {**os.environ, ENV_VAR: str(workspace.root)}
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        report(json.loads(answer.stdout.splitlines()[-1]))


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, load {load}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


# ---------------------------------------------------------------- the import


def compare_import(workspace: Workspace, place: Path, pictures: int, camera: int) -> None:
    """Import folders of each kind in turns with only decoding them; all the small ones become the dataset NAME."""
    per_part = pictures // PARTS
    kinds = {
        "small": ([(per_part, SMALL)] * PARTS, NAME),
        "camera": ([(camera // 3, CAMERA)] * 3, "camera"),
        "mixed": ([(1000, SMALL), (camera // 3, CAMERA)], "mixed"),
    }
    print(f"{'':10}{'pictures':>9}{'kB each':>9}{'decode and hash':>17}{'import':>9}   pictures/s")
    for kind, (parts, dataset) in kinds.items():
        folders = [place / f"{kind}-{number}" for number in range(len(parts))]
        for number, (folder, (count, size)) in enumerate(zip(folders, parts, strict=True)):
            folder.mkdir()
            draw(folder, count, size, seed=number)
        if kind == "mixed":
            folders = [place / "mixed-0"]
            for file in (place / "mixed-1").glob("*.jpg"):
                file.rename(folders[0] / f"camera-{file.name}")
        seconds, worked = np.array([turn(workspace, folder, dataset) for folder in folders]).transpose(1, 0, 2)
        files = [file for folder in folders for file in folder.glob("*.jpg")]
        size = sum(file.stat().st_size for file in files) / len(files) / 1000
        alone, imported = (len(files) / total for total in seconds.sum(axis=0))
        ratios = ", ".join(f"{ratio:.0%}" for ratio in seconds[:, 0] / seconds[:, 1])
        print(
            f"{kind:10}{len(files):9,}{size:9.1f}{alone:17.1f}{imported:9.1f}"
            f"   {imported / alone:.0%} (bar: 60%; turn by turn {ratios}; of processor time "
            f"{worked[:, 0].sum() / worked[:, 1].sum():.0%})"
        )


def turn(workspace: Workspace, folder: Path, dataset: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds to only decode and hash the pictures of `folder`, and to import them: by the clock, and of processors."""
    files = sorted(folder.glob("*.jpg"))
    for file in files:
        file.read_bytes()
    moments = [(time.perf_counter(), time.process_time())]
    decode(files)
    moments.append((time.perf_counter(), time.process_time()))
    job = jobs.run_inline(workspace, "import", ImportConfig(dataset=dataset, folder=str(folder)), echo=False)
    moments.append((time.perf_counter(), time.process_time()))
    assert (job.state, job.done) == ("succeeded", len(files)), job.error
    (clock, processor) = np.diff(np.array(moments), axis=0).T
    return tuple(clock), tuple(processor)


def decode(files: list[Path]) -> None:
    def work(file: Path) -> None:
        data = file.read_bytes()
        sha256(data).hexdigest()
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        list(threads.map(work, files))


def draw(folder: Path, count: int, size: tuple[int, int], seed: int) -> None:
    """Soft colours with a little grain, about as hard to decode as a photo, with a caption for nine of ten.

    Every fourth camera picture was taken with the camera turned.
    """
    generator, chosen = np.random.default_rng(seed), random.Random(seed)
    grain = [
        Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        for _ in range(16 if size == SMALL else 2)
    ]
    exif, lines = Image.Exif(), []
    for index in range(count):
        corners = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        picture = Image.blend(corners.resize(size, Image.Resampling.BILINEAR), grain[index % len(grain)], 0.06)
        exif[ORIENTATION] = TURNED if size == CAMERA and index % 4 == 0 else 1
        name = f"{seed}-{index:06d}.jpg"
        picture.save(folder / name, quality=80, exif=exif)
        if index % 10:
            words = " ".join(["asim", *chosen.choices(WORDS, k=chosen.randint(8, 40))])
            lines.append(json.dumps({"file_name": name, "text": words}))
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


# ---------------------------------------------------------------- the page


def ask(workspace: Workspace) -> dict[str, list[float]]:
    """Milliseconds of each kind of request, and the peak memory of this process in MB."""
    sys.path.insert(0, str(ROOT / "tests"))
    from streamlit.logger import set_log_level
    from studio_pages import open_page

    set_log_level("ERROR")  # it warns of every page that no browser asked for

    chosen = random.Random(1)
    dataset = open_dataset(workspace, NAME)
    start = time.perf_counter()
    dataset.refresh()
    times: dict[str, list[float]] = {"token counts and look-alikes": [(time.perf_counter() - start) * 1000]}
    ids = dataset.ids(Query())
    pages = len(ids) // PAGE

    def timed(kind: str, request: Callable[[], object], forget: bool = True) -> None:
        if forget:
            store._memory.__init__()
        start = time.perf_counter()
        request()
        times.setdefault(kind, []).append((time.perf_counter() - start) * 1000)

    def save_and_next() -> None:
        image = dataset.image(chosen.choice(ids))
        edit = Edit(image.id, image.version, f"asim {time.time_ns()}", False)
        message = Message(NAME, 1, image.id, [edit], "next", image.id, image.version)
        timed("save and next", lambda: act(open_dataset(workspace, NAME), Query(), message), forget=False)

    for _ in range(3):
        open_page("annotate", dataset=NAME)
    for _ in range(20):
        timed("open the page", lambda: open_page("annotate", dataset=NAME))
        timed("page flip", lambda: open_page("annotate", dataset=NAME, page=str(chosen.randint(1, pages))))
        timed("open a picture", lambda: open_page("annotate", dataset=NAME, image=chosen.choice(ids)))
    app = open_page("annotate", dataset=NAME)
    widgets = {"state": app.selectbox, "only": app.multiselect, "sort": app.selectbox}
    for choice in FILTERS * 4:
        ((key, value),) = choice.items()
        widgets[key](key=key).set_value(value)
        timed("filter", app.run)
        widgets[key](key=key).set_value([] if key == "only" else widgets[key](key=key).options[0]).run()
    for kind, patterns in {
        "words": ["{a} {b}", "{a}"] * 12,
        "regex": list(REGEXES) * 8,
        ONCE[0]: ["({a} ?)+{b}"],
    }.items():
        app.toggle(key="regex").set_value(kind != "words").run()
        for pattern in patterns:
            a, b, c = chosen.sample(WORDS, 3)
            app.text_input(key="contains").set_value(pattern.format(a=a, b=b, c=c, A=a.upper()))
            timed(kind, app.run)
            assert not app.error, app.error
    for _ in range(200):
        save_and_next()
    who = "person:bench"
    timed(ONCE[1], lambda: dataset.bulk(Query(), FindReplace(find="a", replacement="A"), who))
    timed(ONCE[2], lambda: dataset.undo_bulk(who))
    timed(ONCE[3], lambda: preflight.check(dataset))
    timed(ONCE[4], dataset.snapshot)
    times["memory"] = [peak_memory()]
    return times


def peak_memory() -> float:
    """The most that this process has held, in MB; the kernel's own word where it has one for the process alone."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def report(times: dict[str, list[float]]) -> None:
    (memory,) = times.pop("memory")
    print(f"\n{'the page, at all the small ones':34}{'median':>8}{'p95':>8}{'bar':>8}  ms")
    for kind, values in times.items():
        median, high = np.percentile(values, (50, 95))
        print(f"{kind:34}{median:8.1f}{high:8.1f}{BARS.get(kind, ''):>8}  of {len(values)}")
    print(f"peak memory of the process that ran the page: {memory:.0f} MB (bar: 600)")


if __name__ == "__main__":
    main()
