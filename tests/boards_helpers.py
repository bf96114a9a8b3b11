"""A workspace with comparisons on disk, made without a model: rows, cells, pictures and the runs behind them."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from sdstudio.datasets import create_dataset
from sdstudio.jobs.folder import State, write_state
from sdstudio.results import FLOOR, Evaluation, Picture, Row
from sdstudio.schema import Checkpoint, MetricResult, ModelRef, Protocol, Snapshot, TrainConfig, to_json
from sdstudio.workspace import Workspace, append_json, write_json

PROMPTS = [f"{{trigger}} prompt {index}" for index in range(8)]
METRICS = ("kid", "clip_score", "vendi", "copy_rate")


def run_with_checkpoints(ws: Workspace, run: str, steps: Sequence[int], snapshot: Snapshot | None = None) -> list[str]:
    """A run's folder with its config, numbers and bare checkpoints; the checkpoints' references."""
    folder, learned = ws.runs / run, snapshot.hash if snapshot else ""
    config = TrainConfig(name=run, dataset="faces", snapshot=learned, method="lora")
    write_json(folder / "config.json", to_json(config))
    if snapshot:
        write_json(folder / "snapshot.json", to_json(snapshot))
    for step in range(1, max(steps) + 1):
        line = {"step": step, "loss": 1 / step, "lr": 1e-3, "images_per_second": 4.0, "memory_bytes": 10**8 + step}
        append_json(folder / "metrics.jsonl", line)
    append_json(folder / "metrics.jsonl", {"step": max(steps), "val_loss": 0.5, "val_base": 1.5})
    refs = []
    for step in steps:
        place = folder / "checkpoints" / f"step-{step:06d}"
        checkpoint = Checkpoint(
            method="lora", method_options={}, base_model="starter", base_hash="", family="sd", trigger="zorb",
            run=run, step=step, snapshot=learned,
        )  # fmt: skip
        write_json(place / "checkpoint.json", to_json(checkpoint))
        (place / "weights.safetensors").write_bytes(bytes(1000 * step))
        write_json(place / "manifest.json", {"files": {}, "of": f"{run} {step}"})
        refs.append(f"runs/{run}/checkpoints/step-{step:06d}")
    return refs


def end_run(ws: Workspace, run: str, created: float = 1.0) -> None:
    """Let the run have succeeded."""
    state = State(kind="train", title=run, created=created, state="succeeded", started=created, ended=created + 1)
    write_state(ws.runs / run, state)
    write_json(ws.runs / run / "progress.json", {"done": 30, "total": 30, "unit": "steps"})


def row(label: str, checkpoint: str = "") -> Row:
    """A row with a picture for each prompt."""
    key = checkpoint.replace("/", "-") or "base-0"
    pictures = tuple(
        Picture(
            prompt=prompt, text=prompt.format(trigger="zorb"), seed=1, file=f"pictures/{key}/{index}.png", drift=False
        )
        for index, prompt in enumerate(PROMPTS)
    )
    return Row(
        key=key,
        label=label,
        role="trained" if checkpoint else "base",
        model=ModelRef(checkpoint=checkpoint),
        trigger="zorb",
        base="base-0",
        pictures=pictures,
    )


def cell(metric: str, of: Row, value: float, tilt: float = 0.0, nearest: str = "0" * 64) -> MetricResult:
    """A cell whose prompts scatter a little around `value`, and with `tilt` each picture too.

    `nearest` is the training picture that all are nearest to, by the copy rate.
    """
    paired = metric != "kid"
    per_prompt = {prompt: value + (index - 3.5) / 1000 for index, prompt in enumerate(PROMPTS)} if paired else {}
    per_picture = {one.file: value + tilt * index for index, one in enumerate(of.pictures)} if tilt else {}
    return MetricResult(
        metric=metric, model=of.label, value=value, interval=(value - 0.1, value + 0.1), n_generated=8, n_reference=9,
        extractor="e", preprocessing="p", per_prompt=per_prompt, per_picture=per_picture,
        nearest={one.file: nearest for one in of.pictures} if metric == "copy_rate" else {},
    )  # fmt: skip


def comparison(
    ws: Workspace,
    name: str,
    cells: Sequence[tuple[Row, Mapping[str, float]]],
    hash: str = "h" * 64,
    nearest: str = "0" * 64,
) -> Path:
    """A finished comparison of these rows, with a value for each metric."""
    folder = ws.evaluations / name
    results = [cell(metric, of, value, 0.01 if metric in ("clip_score", "copy_rate") else 0.0, nearest)
               for of, values in cells for metric, value in values.items()]  # fmt: skip
    floor = MetricResult(
        metric="kid", model=FLOOR, value=0.01, interval=(0.0, 0.02), n_generated=4, n_reference=5, extractor="e",
        preprocessing="p",
    )  # fmt: skip
    rows = tuple(of for of, _ in cells)
    protocol = Protocol(name="Faces", prompts=PROMPTS, seeds=[1], reference="real", metrics=list(METRICS))
    evaluation = Evaluation(
        protocol=protocol, protocol_hash=hash, created=float(name[-1]), rows=rows, results=(*results, floor)
    )
    for one in (picture for of in rows for picture in of.pictures):
        (folder / one.file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "gold").save(folder / one.file)
    write_json(folder / "config.json", to_json(protocol))
    state = {"kind": "evaluate", "title": "Faces", "created": float(name[-1]), "state": "succeeded",
             "started": 1.0, "ended": 2.0}  # fmt: skip
    write_json(folder / "state.json", state)
    write_json(folder / "results.json", to_json(evaluation))
    return folder


def two_comparisons(ws: Workspace) -> dict[str, Row]:
    """One protocol, two comparisons: the base and a run's first checkpoint, then its second and another run."""
    first, second = run_with_checkpoints(ws, "run-a", [5, 30])
    [third] = run_with_checkpoints(ws, "run-b", [10])
    base, a5, a30, b10 = row("Base"), row("A 5", first), row("A 30", second), row("B 10", third)
    of = dict(zip(METRICS, (3.0, 0.7, 2.0, 0.0), strict=True))
    comparison(ws, "one-1", [(base, of), (a5, {**of, "kid": 2.0, "clip_score": 0.69})])
    comparison(
        ws,
        "two-2",
        [
            (base, of),
            (a30, {"kid": 1.0, "clip_score": 0.5, "vendi": 1.5, "copy_rate": 0.2}),
            (b10, {"kid": 2.5, "clip_score": 0.49, "vendi": 1.4, "copy_rate": 0.3}),
        ],
    )
    return {"base": base, "a5": a5, "a30": a30, "b10": b10}


def caption_pair(ws: Workspace, name: str = "pair-3") -> tuple[Row, Row]:
    """Two runs that differ in one caption of their dataset `faces` alone, measured with their base model."""
    store = create_dataset(ws, "faces")
    ids = [store.add(png(shade), f"{shade}.png", caption=f"zorb, a face, {shade}")[0] for shade in (10, 90, 170)]
    before = store.snapshot()
    store.set_caption(ids[0], "zorb, a woman who laughs on a beach", "Ana", store.image(ids[0]).version)
    rows = []
    for place, (run, snapshot) in enumerate({"plain-captions": before, "long-captions": store.snapshot()}.items()):
        [ref] = run_with_checkpoints(ws, run, [30], snapshot)
        end_run(ws, run, created=1.0 + place)
        rows.append(row(run, ref))
    base = {"kid": 3.0, "clip_score": 0.7, "copy_rate": 0.1}
    measured = [
        (row("Base"), base),
        (rows[0], {**base, "kid": 2.0}),
        (rows[1], {**base, "kid": 1.0, "clip_score": 0.8}),
    ]
    comparison(ws, name, measured, hash="c" * 64, nearest=ids[0])
    return rows[0], rows[1]


def png(shade: int) -> bytes:
    memory = io.BytesIO()
    Image.new("RGB", (64, 64), (shade, 90, 160)).save(memory, "PNG")
    return memory.getvalue()
