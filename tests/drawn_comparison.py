"""A comparison's folder as a finished one leaves it, its pictures drawn from seeds: no model, milliseconds."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from sdstudio.results import RESULTS_FILE, Evaluation, Picture, Row, read_evaluation
from sdstudio.schema import ModelRef, Protocol, to_json
from sdstudio.starter.drawing import render
from sdstudio.starter.logo import product
from sdstudio.starter.world import random_scene
from sdstudio.workspace import Workspace, write_json

PROMPTS = ("a man", "a cat", "a bus")
Draw = Callable[[str, str, int], Image.Image]


def person(key: str, prompt: str, seed: int) -> Image.Image:
    """A face of the starter's world; the base model's are cross-eyed, every third of the others too."""
    rng = random.Random(f"{prompt} {seed}")
    scene = random_scene(rng, who=rng.choice(("man", "woman")))
    return render(replace(scene, crossed_eyes=key == "base" or rng.random() < 1 / 3))


def finished_comparison(
    ws: Workspace,
    name: str = "20260101-120000-drawn-0001",
    trained: Sequence[str] = ("lora",),
    prompts: Sequence[str] = PROMPTS,
    seeds: int = 4,
    draw: Draw = person,
) -> Path:
    """An evaluation that succeeded, of the base model and `trained` ones, `seeds` pictures a prompt; its folder."""
    folder = ws.evaluations / name
    rows = []
    for key in ("base", *trained):
        pictures = []
        for place, prompt in enumerate(prompts):
            for seed in range(seeds):
                file = f"pictures/{key}/{place:02}-{seed:03}.png"
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                draw(key, prompt, seed).save(folder / file)
                pictures.append(Picture(prompt=prompt, text=prompt, seed=seed, file=file, drift=False))
        model = ModelRef(label=key)
        role = "base" if key == "base" else "trained"
        rows.append(Row(key=key, label=f"Model {key}", role=role, model=model, trigger="", base="base",
                        pictures=tuple(pictures)))  # fmt: skip
    protocol = Protocol(
        name="Drawn", models=[row.model for row in rows], prompts=list(prompts), metrics=["crossed_eyes"]
    )
    evaluation = Evaluation(protocol=protocol, protocol_hash="0" * 64, created=1.0, rows=tuple(rows), results=())
    write_json(folder / "config.json", to_json(protocol))
    state = {"kind": "evaluate", "title": "Drawn", "created": 1.0, "started": 1.0, "ended": 9.0, "state": "succeeded"}
    write_json(folder / "state.json", state)
    write_json(folder / RESULTS_FILE, to_json(evaluation))
    return folder


def half_logos(key: str, prompt: str, seed: int) -> Image.Image:
    """The base model draws grey nothing, the trained one logos as they are in reality."""
    return product(seed + 100) if key == "lora" else Image.new("RGB", (64, 64), (90 + seed, 90, 90))


def logos_beside_real_ones(ws: Workspace) -> Path:
    """A comparison of 8 prompts × 2 seeds that was held against 20 real pictures of a logo; its folder."""
    folder = finished_comparison(ws, prompts=[f"prompt {number}" for number in range(8)], seeds=2, draw=half_logos)
    real = []
    for seed in range(20):
        (ws.root / "real").mkdir(exist_ok=True)
        product(seed).save(ws.root / "real" / f"{seed}.png")
        real.append(f"real/{seed}.png")
    write_json(folder / RESULTS_FILE, to_json(replace(read_evaluation(folder), reference=tuple(real))))
    return folder
