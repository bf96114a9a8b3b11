"""What pictures cost: cold, warm, in batches, and when checkpoints are switched.   python bench/generate.py

Every ratio is of two ways in the same process on the same machine, the better of several rounds each, by the clock and
by the processor's time: the second holds on a busy machine too. With a GPU the clock counts, in bfloat16 and
channels-last.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from sdstudio.engine.checkpoints import write_checkpoint
from sdstudio.engine.pipeline import find_method, load_base, pick_device
from sdstudio.engine.pool import ModelPool
from sdstudio.engine.sampling import sample
from sdstudio.schema import Checkpoint, ModelRef, SampleSettings, from_json
from sdstudio.workspace import Workspace

STEPS, SIDE, PICTURES, ROUNDS = 20, 64, 8, 3
PROMPTS = ["a smiling woman holding a balloon on a beach at night", "a red car", "a sad man", "a cat on a hill"] * 2
COLD = """
import sys, time
from pathlib import Path
from sdstudio.interactive import GenerationHub
from sdstudio.schema import GenerateConfig
from sdstudio.workspace import Workspace
hub = GenerationHub(Workspace(Path(sys.argv[1])))
batch = hub.wait(hub.ask(GenerateConfig(prompts=["a red car"])).id, 600)
assert batch.state == "done", batch.message
hub.close()
"""


def main() -> None:
    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores"
    print(f"{platform.machine()}, {name}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace(Path(folder))
        cold(ws)
        pool = ModelPool(ws)
        with pool.use(ModelRef()) as loaded:
            warm(loaded.pipeline)
            batches(loaded.pipeline)
        switches(ws, pool)


def cold(ws: Workspace) -> None:
    """A fresh process, as after the studio's start: libraries, model, 20 steps, the file."""
    began, used = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", COLD, str(ws.root)], check=True, capture_output=True)
    passed, after = time.perf_counter() - began, os.times()
    busy = after.children_user + after.children_system - used.children_user - used.children_system
    print(f"cold, to the first starter picture        {passed:6.2f} s  ({busy:.2f} s of processor)")


def warm(pipeline: object) -> None:
    """One 64 × 64 picture in 20 steps, the model in memory."""
    settings = SampleSettings(steps=STEPS)
    passed, busy = best(lambda: sample(pipeline, PROMPTS[:1], [1], settings, SIDE, SIDE))
    print(f"warm, one picture of {SIDE} px in {STEPS} steps     {passed:6.2f} s  ({busy:.2f} s of processor)")


def batches(pipeline: object) -> None:
    """Eight pictures at once against eight calls of the plain diffusers pipeline, pictures per second."""
    settings = SampleSettings(steps=STEPS, batch_size=PICTURES)
    seeds = list(range(PICTURES))

    def one_by_one() -> None:
        for prompt, seed in zip(PROMPTS, seeds, strict=True):
            pipeline(
                prompt,
                num_inference_steps=STEPS,
                guidance_scale=settings.guidance_scale,
                width=SIDE,
                height=SIDE,
                generator=torch.Generator().manual_seed(seed),
            )

    plain = best(one_by_one)
    ours = best(lambda: sample(pipeline, PROMPTS, seeds, settings, SIDE, SIDE))
    print(f"diffusers, one by one                     {PICTURES / plain[0]:6.2f} pictures/s")
    print(f"ours, {PICTURES} at once                         {PICTURES / ours[0]:6.2f} pictures/s  {gain(plain, ours)}")


def switches(ws: Workspace, pool: ModelPool) -> None:
    """From one LoRA to another and back, against reading the base model anew for each."""
    models = [lora(ws, f"run-{number}") for number in range(2)]

    def switch() -> None:
        for model in models:
            with pool.use(model):
                pass

    def anew() -> None:
        for model in models:
            with ModelPool(ws).use(model):
                pass

    reading, switching = best(anew), best(switch)
    print(f"two LoRAs, the base read anew             {reading[0] / 2:6.3f} s each")
    print(f"two LoRAs, switched on one base           {switching[0] / 2:6.3f} s each  {gain(reading, switching)}")


def lora(ws: Workspace, run: str) -> ModelRef:
    """A LoRA of rank 16 as it is before its first step: as large as any, and with nothing learned."""
    method, base = find_method("lora"), load_base(ws, "starter")
    options = {"trigger": run}
    trainable = method.prepare(base.pipeline, from_json(method.Options, options))
    record = Checkpoint(
        method="lora",
        method_options=options,
        base_model="starter",
        base_hash=base.base_hash,
        family=base.family.name,
        trigger=run,
        run=run,
        step=1,
    )
    folder = write_checkpoint(ws.runs / run, record, lambda path: method.save(base.pipeline, trainable, path))
    return ModelRef(checkpoint=str(folder))


def best(act: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of the processor, the least of several rounds each, after one that warms up."""
    clock, processor = [], []
    for _ in range(1 + ROUNDS):
        began, busy = time.perf_counter(), time.process_time()
        act()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - busy)
    return min(clock[1:]), min(processor[1:])


def gain(slow: tuple[float, float], fast: tuple[float, float]) -> str:
    return f"× {slow[0] / fast[0]:.2f} by the clock, × {slow[1] / fast[1]:.2f} by the processor"


if __name__ == "__main__":
    main()
