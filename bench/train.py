"""Training beside a plain loop of the kind that public example scripts run (bench/plain/text_to_image.py).

    nice -n -10 python bench/train.py            on the starter, on this machine's CPU or GPU
    nice -n -10 python bench/train.py --sd15     Stable Diffusion 1.5's shapes with random weights, on a GPU

Both train the same layers of the same model on the same 24 bundled pictures, batch 8, float32, one thread unless
OMP_NUM_THREADS says more; they take turns, so that what else the machine does hits both. Prints pictures a second,
memory and whole commands as ratios of one run, and where the time of a step goes. The bars: 1.25x pictures a second
and 1.3x whole commands on the starter, and no more memory.
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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
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


def whole_command(command: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """(seconds, peak bytes) of a command that must succeed."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{said.decode(errors='replace')}")
    return time.perf_counter() - started, usage.ru_maxrss * 1024


def compare_commands(workspace: Path, pictures: Path, method: str, rounds: int = 3) -> None:
    from sdstudio.models import STARTER

    environment = {**os.environ, "SDSTUDIO_WORKSPACE": str(workspace), "PYTHONPATH": str(ROOT)}
    ours = [sys.executable, "-c", "import sys; from sdstudio.cli import main; sys.exit(main())", "train"]
    ours += ["--dataset", DATASET, "--method", method, "--steps", "60", "--sample-every", "0"]
    plain = [sys.executable, str(ROOT / "bench/plain/text_to_image.py"), str(STARTER / "sd"), str(pictures)]
    plain += [str(workspace / "plain"), "--method", method, "--steps", "60"]
    found: dict[str, list[tuple[float, int]]] = {"ours": [], "plain": []}
    for _ in range(rounds):
        shutil.rmtree(workspace / "cache/latents", ignore_errors=True)
        found["plain"].append(whole_command(plain, environment))
        found["ours"].append(whole_command(ours, environment))
    times = {name: statistics.median(taken for taken, _ in rows) for name, rows in found.items()}
    memory = {name: max(peak for _, peak in rows) for name, rows in found.items()}
    print(
        f"{method:<5} 60 steps, whole command   ours {times['ours']:6.1f} s   plain {times['plain']:6.1f} s   "
        f"{times['plain'] / times['ours']:.2f}x"
    )
    print(
        f"{method:<5} peak memory               ours {memory['ours'] / 2**20:6.0f} MB  plain "
        f"{memory['plain'] / 2**20:6.0f} MB  {memory['ours'] / memory['plain']:.2f} of the plain one's"
    )


# ---------------------------------------------------------------- the two parts


def starter(commands: bool) -> None:
    from plain.text_to_image import PlainTrainer

    from sdstudio.models import STARTER
    from sdstudio.starter.examples import install
    from sdstudio.workspace import Workspace

    with tempfile.TemporaryDirectory() as place:
        workspace, pictures = Path(place) / "workspace", Path(place) / "pictures"
        workspace.mkdir()
        install(Workspace(workspace))
        export_pictures(workspace, pictures)
        for method in METHODS:
            run = studio_run(workspace, method, method, "starter")
            plain = PlainTrainer(STARTER / "sd", pictures, method, BATCH, 1000, "no")
            ours = stepper(run)
            mine, theirs = compare_steps(ours, plain.step, ROUNDS, STEPS)
            print(
                f"{method:<5} batch {BATCH}, pictures a second  ours {BATCH / mine:6.1f}     plain "
                f"{BATCH / theirs:6.1f}     {theirs / mine:.2f}x"
            )
            for label, share in profile(run, ours, 20).items():
                print(f"      {share:5.1%}  {label}")
        for method in METHODS if commands else ():
            compare_commands(workspace, pictures, method)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sd15", action="store_true", help="Stable Diffusion 1.5's shapes on a GPU instead")
    parser.add_argument("--no-commands", action="store_true", help="leave the whole commands out")
    arguments = parser.parse_args()
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads, {gpu}{load}, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )
    if not arguments.sd15:
        starter(commands=not arguments.no_commands)
    elif torch.cuda.is_available():
        from sd15 import measure

        measure()
    else:
        print("Stable Diffusion 1.5's shapes: no GPU here.")


if __name__ == "__main__":
    main()
