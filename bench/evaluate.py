"""What a comparison costs: FID of few pictures beside SciPy's square root, a second look, and 10,000 pictures.

    nice -n -10 python bench/evaluate.py            some minutes
    nice -n -10 python bench/evaluate.py --quick    SciPy at 512 dimensions, 1,000 pictures

The bars: FID of 20 × 20 features at 2048 dimensions at least 1,000 times faster than scipy.linalg.sqrtm, to 1e-6 the
same number; a second evaluation of the same pictures spends no time in encoders; memory for 10,000 pictures stays a
small part of the matrix of all pairs.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
PICTURES = 20
MEGABYTE = 1e6


def by_square_root(one: np.ndarray, other: np.ndarray) -> float:
    """FID as the published programs have it: moments, and SciPy's root of the covariances' product."""
    from scipy import linalg

    shift = one.mean(0) - other.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = linalg.sqrtm(first @ second)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def timed(work: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Its result, and the median seconds of `rounds`."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        value = work()
        seconds.append(time.perf_counter() - began)
    return value, statistics.median(seconds)


def fid(dimensions: int) -> None:
    from sdstudio.metrics.fid import frechet_distance

    rng = np.random.default_rng(0)
    one, other = (np.maximum(rng.normal(shift, 1, (PICTURES, dimensions)), 0) for shift in (0.3, 0.5))
    ours, fast = timed(lambda: frechet_distance(one, other), 21)
    theirs, slow = timed(lambda: by_square_root(one, other), 1)
    print(f"FID of {PICTURES} × {PICTURES} pictures at {dimensions} dimensions")
    print(f"  ours            {fast * 1e3:10.2f} ms   {ours:.9f}")
    print(f"  scipy's sqrtm   {slow * 1e3:10.0f} ms   {theirs:.9f}")
    print(f"  {slow / fast:,.0f} times faster; the numbers differ by {abs(ours / theirs - 1):.0e}")


def second_look(folder: Path, count: int) -> None:
    """`count` pictures through the starter's encoder and its cache, twice: where the time goes, and how much memory."""
    from sdstudio.features.cache import CachedEncoder
    from sdstudio.features.clip import ClipEncoder, load

    rng = np.random.default_rng(1)
    paths = [folder / f"{index}.png" for index in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path, compress_level=0)
    inside = 0.0

    class Timed(ClipEncoder):
        def images(self, paths):  # type: ignore[no-untyped-def]
            nonlocal inside
            began = time.perf_counter()
            features = super().images(paths)
            inside += time.perf_counter() - began
            return features

    stock = load("starter", "cpu")
    cached = CachedEncoder(Timed(stock.folder, "starter CLIP"), folder / "cache")
    cached.images(paths[:1])
    print(f"Features of {count:,} pictures through {stock.label}")
    for turn in ("first", "second"):
        inside, began = 0.0, time.perf_counter()
        with peak() as grown:
            features = cached.images(paths)
        seconds = time.perf_counter() - began
        size = (features.pooled.nbytes + features.embedding.nbytes) / MEGABYTE
        room = f"memory grew by {grown[0] / MEGABYTE:.0f} MB for {size:.0f} MB of features"
        print(f"  {turn:6} look {seconds:7.1f} s, in the encoder {inside:7.2f} s, {room}")


def many(count: int, dimensions: int = 512) -> None:
    """The metrics that look at all pairs, at `count` pictures a side: memory beside one whole matrix of pairs."""
    from sdstudio.metrics.fid import frechet_distance
    from sdstudio.metrics.kid import kernel
    from sdstudio.metrics.mmd import distance_and_error
    from sdstudio.metrics.neighbours import balls_hit, radii

    rng = np.random.default_rng(2)
    one, other = (rng.normal(size=(count, dimensions)).astype(np.float32) for _ in range(2))
    pairs = count * count * 8
    print(f"{count:,} against {count:,} pictures at {dimensions} dimensions; all pairs are {pairs / MEGABYTE:,.0f} MB")
    works: dict[str, Callable[[], object]] = {
        "FID": lambda: frechet_distance(one, other),
        "KID": lambda: distance_and_error(kernel, one, other),
        "precision": lambda: balls_hit(other, radii(other, 3), one),
    }
    for name, work in works.items():
        began = time.perf_counter()
        with peak() as grown:
            work()
        print(f"  {name:9} {time.perf_counter() - began:6.1f} s, memory grew by {grown[0] / MEGABYTE:6.0f} MB")


@contextmanager
def peak() -> Iterator[list[int]]:
    """The most bytes by which this process grows inside, in the first place of the list once it has ended."""
    process, grown, done = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.01):
            grown[0] = max(grown[0], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield grown
    finally:
        done.set()
        watcher.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small version of each, in seconds")
    quick = parser.parse_args().quick
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 1e9
    print(f"{platform.platform()}, {cores} cores, {memory:.0f} GB, numpy {np.__version__}, one thread")
    fid(512 if quick else 2048)
    with tempfile.TemporaryDirectory() as folder:
        second_look(Path(folder), 1_000 if quick else 10_000)
    many(1_000 if quick else 10_000)


if __name__ == "__main__":
    main()
