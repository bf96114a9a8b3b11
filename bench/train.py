"""Training beside a plain loop of the kind that public example scripts run (bench/plain/text_to_image.py).

    nice -n -10 python bench/train.py            the starter, then Stable Diffusion 1.5's shapes where there is a GPU
    nice -n -10 python bench/train.py --sd15     Stable Diffusion 1.5's shapes with random weights alone

Both train the same layers of the same model on the same 24 bundled pictures, batch 8, float32, with as many threads as
torch takes by itself, one for each core; OMP_NUM_THREADS=1 measures on one. They take turns, so that what else the
machine does hits both, but figures count only from a machine that does nothing else. Prints pictures a second, memory
and whole commands as ratios of one run, where the time of a step goes, and how soon a queued run takes its first step.
The bars, on 2 cores: 1.25x pictures a second and 1.3x whole commands on the starter, no more memory, 15 s.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]
DATASET = "asim-style"
METHODS = ("lora", "full")
BATCH = 8
ROUNDS, STEPS = 12, 4


def studio_run(workspace: Path, name: str, method: str, base_model: str, **loop: Any) -> Any:
    """A run of the studio that is set up, its steps not yet taken. The plain script has no validation, nor has it."""
    from sdstudio.engine.setup import set_up
    from sdstudio.jobs.context import JobContext
    from sdstudio.schema import LoopConfig, TrainConfig
    from sdstudio.workspace import Workspace

    folder = workspace / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"steps": 1000, "batch_size": BATCH, "validation_share": 0.0, **loop}
    config = TrainConfig(dataset=DATASET, base_model=base_model, method=method, loop=LoopConfig(**settings))
    return set_up(config, JobContext(Workspace(workspace), folder))


def export_pictures(workspace: Path, folder: Path) -> None:
    """The dataset as the plain script reads it: files and metadata.jsonl."""
    from sdstudio.datasets import open_dataset
    from sdstudio.workspace import Workspace

    store = open_dataset(Workspace(workspace), DATASET)
    folder.mkdir()
    lines = []
    for image in store.images():
        path = store.image_path(image.id)
        shutil.copy(path, folder / path.name)
        lines.append(json.dumps({"file_name": path.name, "text": image.caption}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


# ---------------------------------------------------------------- pictures a second


def seconds(step: Callable[[], object], steps: int) -> float:
    synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    synchronize()
    return time.perf_counter() - started


def synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def compare_steps(ours: Callable[[], object], plain: Callable[[], object], rounds: int, steps: int) -> list[float]:
    """(ours, plain) seconds of one step, the medians of `rounds` turns, after one turn that does not count."""
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(rounds + 1):
        for name, step in (("ours", ours), ("plain", plain)):
            taken = seconds(step, steps) / steps
            if turn:
                times[name].append(taken)
    return [statistics.median(found) for found in times.values()]


def stepper(run: Any) -> Callable[[], object]:
    numbers = iter(range(1, 10**6))
    return lambda: run.step(next(numbers))


# ---------------------------------------------------------------- where the time goes


@contextmanager
def timed(owner: Any, name: str, label: str, table: dict[str, float]) -> Iterator[None]:
    """Within this, the seconds spent in `owner.name` are added up under `label`."""
    inner = getattr(owner, name)

    def outer(*arguments: Any, **more: Any) -> Any:
        synchronize()
        started = time.perf_counter()
        try:
            return inner(*arguments, **more)
        finally:
            synchronize()
            table[label] = table.get(label, 0.0) + time.perf_counter() - started

    setattr(owner, name, outer)
    try:
        yield
    finally:
        setattr(owner, name, inner)


def profile(run: Any, step: Callable[[], object], steps: int) -> dict[str, float]:
    """Share of a step's time by what it is spent on."""
    table: dict[str, float] = {}
    with (
        timed(run.data, "batch", "batch: pictures, captions, noise of the latents", table),
        timed(run.unet, "forward", "U-Net forward", table),
        timed(run.accelerator, "backward", "U-Net backward", table),
        timed(run.accelerator, "clip_grad_norm_", "gradient norm", table),
        timed(run.optimizer, "step", "optimizer", table),
    ):
        whole = seconds(step, steps)
    table["the rest: noise, loss, checks, metrics"] = whole - sum(table.values())
    return {label: taken / whole for label, taken in table.items()}


# ---------------------------------------------------------------- whole commands


class Cost(NamedTuple):
    """What a command took: seconds by the clock, seconds of processor time, the most bytes held at once."""

    clock: float
    processor: float
    memory: int


def whole_command(command: list[str], environment: dict[str, str]) -> Cost:
    """What a command costs, which must succeed. Its memory is looked at twenty times a second."""
    started, memory, processor = time.perf_counter(), 0, 0.0
    with tempfile.TemporaryFile() as said:
        process = psutil.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said, cwd=ROOT)
        while process.poll() is None:
            with suppress(psutil.Error):
                memory = max(memory, process.memory_info().rss)
                processor = sum(process.cpu_times()[:2])
            time.sleep(0.05)
        said.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read().decode(errors='replace')}")
    return Cost(time.perf_counter() - started, processor, memory)


def compare_commands(workspace: Path, pictures: Path, method: str, rounds: int = 3) -> None:
    from sdstudio.models import STARTER

    environment = {**os.environ, "SDSTUDIO_WORKSPACE": str(workspace), "PYTHONPATH": str(ROOT)}
    ours = [sys.executable, "-c", "import sys; from sdstudio.cli import main; sys.exit(main())", "train"]
    ours += ["--dataset", DATASET, "--method", method, "--steps", "60"]
    ours += ["--sample-every", "0", "--validation-share", "0"]  # the plain script does neither
    plain = [sys.executable, str(ROOT / "bench/plain/text_to_image.py"), str(STARTER / "sd"), str(pictures)]
    plain += [str(workspace / "plain"), "--method", method, "--steps", "60"]
    found: dict[str, list[Cost]] = {"ours": [], "plain": []}
    for _ in range(rounds):
        shutil.rmtree(workspace / "cache/latents", ignore_errors=True)
        found["plain"].append(whole_command(plain, environment))
        found["ours"].append(whole_command(ours, environment))
    for what, unit in (("clock", "s"), ("processor", "s"), ("memory", "MB")):
        one, other = (statistics.median(getattr(cost, what) for cost in found[name]) for name in ("ours", "plain"))
        scale = 2**20 if unit == "MB" else 1
        print(
            f"{method:<5} 60 steps, whole command, {what:<9}  ours {one / scale:6.1f} {unit}   plain "
            f"{other / scale:6.1f} {unit}   {other / one:.2f}x"
        )


# ---------------------------------------------------------------- the first step


def first_steps(workspace: Path) -> None:
    """Seconds from queueing a run, as the page's button does, to its first step; then of a second one like it."""
    from sdstudio import jobs
    from sdstudio.jobs.context import METRICS_FILE
    from sdstudio.schema import LoopConfig, TrainConfig
    from sdstudio.workspace import Workspace

    ws = Workspace(workspace)
    latents = ws.cache / "latents"
    shutil.rmtree(latents, ignore_errors=True)
    for which in ("a first run", "a second run"):
        before, started = len(list(latents.glob("*"))), time.perf_counter()
        job = jobs.submit(ws, "train", TrainConfig(dataset=DATASET, loop=LoopConfig(steps=60)))
        metrics = job.folder / METRICS_FILE
        while not (metrics.is_file() and '"loss"' in metrics.read_text(encoding="utf-8")):
            if jobs.get_job(ws, job.id).ended:
                raise SystemExit(f"The run ended before its first step: {job.folder}")
            time.sleep(0.05)
        taken, made = time.perf_counter() - started, len(list(latents.glob("*"))) - before
        jobs.stop_job(ws, job.id, now=True)
        jobs.wait(ws, job.id)
        print(f"{which}, from the button to its first step: {taken:.1f} s, {made} pictures encoded (bar: 15 s)")


# ---------------------------------------------------------------- the two parts


@contextmanager
def prepared() -> Iterator[tuple[Path, Path]]:
    """(a workspace with the bundled pictures, the same as files)."""
    from sdstudio.starter.examples import install
    from sdstudio.workspace import Workspace

    with tempfile.TemporaryDirectory() as place:
        workspace, pictures = Path(place) / "workspace", Path(place) / "pictures"
        workspace.mkdir()
        install(Workspace(workspace))
        export_pictures(workspace, pictures)
        yield workspace, pictures


def starter(workspace: Path, pictures: Path) -> None:
    from plain.text_to_image import PlainTrainer

    from sdstudio.models import STARTER

    for method in METHODS:
        run = studio_run(workspace, method, method, "starter")
        plain = PlainTrainer(STARTER / "sd", pictures, method, BATCH, 1000, "no")
        ours = stepper(run)
        mine, theirs = compare_steps(ours, plain.step, ROUNDS, STEPS)
        print(
            f"{method:<5} batch {BATCH}, pictures a second           ours {BATCH / mine:6.1f}     plain "
            f"{BATCH / theirs:6.1f}     {theirs / mine:.2f}x"
        )
        for label, share in profile(run, ours, 20).items():
            print(f"      {share:5.1%}  {label}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd15", action="store_true", help="Stable Diffusion 1.5's shapes on a GPU instead")
    parser.add_argument("--no-commands", action="store_true", help="leave the whole commands out")
    arguments = parser.parse_args()
    import torch

    has_gpu = torch.cuda.is_available()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads, "
        f"{torch.cuda.get_device_name() if has_gpu else 'no GPU'}{load}, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )
    with prepared() as (workspace, pictures):
        if not arguments.sd15:
            starter(workspace, pictures)
            first_steps(workspace)
            for method in () if arguments.no_commands else METHODS:
                compare_commands(workspace, pictures, method)
        if has_gpu:
            from plain.sd15 import measure

            measure(workspace, pictures, studio_run)
        else:
            print("Stable Diffusion 1.5's shapes: no GPU here.")


if __name__ == "__main__":
    main()
