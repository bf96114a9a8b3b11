"""What a job will need before it starts, and a refusal where the disk cannot hold it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sdstudio import registry
from sdstudio.jobs import footprints
from sdstudio.jobs.devices import LOCAL, compute_devices, devices
from sdstudio.jobs.kinds import get_kind
from sdstudio.jobs.precedents import find
from sdstudio.schema import (
    CaptionConfig,
    Estimate,
    GenerateConfig,
    Placement,
    TrainConfig,
    UserError,
    from_json,
    to_json,
)
from sdstudio.training.machine import check_machine
from sdstudio.training.plan import Plan, make_plan
from sdstudio.words import size
from sdstudio.workspace import Workspace, require_space

NOTHING = "No earlier job of this workspace is like this one, so its time shows once it runs."


def estimate(
    ws: Workspace, kind: str, config: Any, placement: Placement | None = None, compute: bool = False
) -> Estimate:
    """What the job would need, from what earlier jobs like it needed; what is not known is None, and said.

    With `compute`, memory and disk of a run without precedent are computed from its model's layers, which takes
    seconds; they are remembered. Raises UserError when the disk cannot hold the job's next checkpoint twice, or the
    device cannot compute as the run asks.
    """
    get_kind(kind)
    placement = placement or Placement()
    device = placement.device or compute_devices()[0]
    if isinstance(config, TrainConfig):
        if placement.backend == LOCAL:
            check_machine(config.loop, device)
        return _training(ws, config, device, compute)
    likeness = LIKENESS.get(kind)
    units = _units(ws, config) if likeness else None
    wanted = likeness(to_json(config)) if likeness else None
    found = find(ws, kind, device, lambda other: likeness is not None and likeness(other) == wanted) if units else None
    if found is None or units is None:
        return _answer(ws, notes=(NOTHING,))
    return _answer(ws, seconds=found.overhead + found.each * units, notes=(f"The time is that of {found.title!r}.",))


def _answer(ws: Workspace, notes: tuple[str, ...], **known: Any) -> Estimate:
    unknown: dict[str, Any] = {"seconds": None, "memory_bytes": None, "disk_bytes": None}
    return Estimate(**{**unknown, **known}, free_bytes=shutil.disk_usage(ws.root).free, notes=notes)


# ---------------------------------------------------------------- pictures and captions


def _models(config: dict[str, Any]) -> Any:
    return [model["base_model"] for model in config.get("models", [])], _drawing(config.get("settings", {}))


def _drawing(settings: dict[str, Any]) -> Any:
    return [settings.get(name) for name in ("steps", "width", "height", "batch_size", "scheduler")]


def _captioner(config: dict[str, Any]) -> Any:
    return config.get("captioner"), config.get("options")


LIKENESS: dict[str, Callable[[dict[str, Any]], Any]] = {"generate": _models, "caption": _captioner}
"""What two jobs of a kind must share for the time of one unit to be the same."""


def _units(ws: Workspace, config: Any) -> int | None:
    if isinstance(config, GenerateConfig):
        return len(config.prompts) * config.count * len(config.models)
    if isinstance(config, CaptionConfig):
        pictures, captioned, _ = _counts(ws, config.dataset)
        return pictures - captioned if config.only_empty else pictures
    return None


def _counts(ws: Workspace, dataset: str) -> tuple[int, int, int]:
    from sdstudio.datasets import open_dataset

    return open_dataset(ws, dataset).counts()


# ---------------------------------------------------------------- training


def _training(ws: Workspace, config: TrainConfig, device: str, compute: bool) -> Estimate:
    config = replace(config, method_options=_options(config))
    wanted = to_json(config)
    exact = find(ws, "train", device, lambda other: _load(other) == _load(wanted))
    scaled = exact or find(ws, "train", device, lambda other: _pace(other) == _pace(wanted))
    sized = find(ws, "train", device, lambda other: _size(other) == _size(wanted))
    plan = plan_of(ws, config)
    notes: list[str] = []
    known: dict[str, Any] = {}
    if scaled and plan:
        known["seconds"] = scaled.overhead + scaled.each * plan.steps * _work(wanted) / _work(scaled.config)
        how = "" if exact else ", scaled to this batch size and resolution"
        notes.append(f"The time is that of the run {scaled.title!r}{how}.")
    else:
        notes.append("No earlier run with this method and base model tells how long it takes.")
    measured = bool(exact and exact.memory) and bool(sized and sized.learned)
    footprint = footprints.known(ws, config) or (footprints.compute(ws, config) if compute and not measured else None)
    if exact and exact.memory:
        known["memory_bytes"] = exact.memory
        notes.append(f"The memory is what {exact.title!r} held.")
    elif footprint:
        known["memory_bytes"] = footprint.memory(config)
        notes.append("The memory is computed from the model's layers; what the GPU's own libraries take comes on top.")
    checkpoint = (sized.learned, sized.state or 0) if sized and sized.learned else None
    if checkpoint is None and footprint:
        checkpoint = footprint.checkpoint(config)
    if checkpoint and plan:
        known["disk_bytes"] = _disk(config, plan, *checkpoint)
        require_space(ws.root, 2 * sum(checkpoint), "two of the run's checkpoints")
    notes += _too_large(device, known.get("memory_bytes"))
    return _answer(ws, notes=tuple(notes), **known)


def _too_large(device: str, memory: int | None) -> list[str]:
    """A warning where the device has less memory than the run takes."""
    there = next((found.memory for found in devices() if found.name == device), 0)
    if not memory or not there or memory <= there:
        return []
    return [f"{device} has only {size(there)}: take a smaller batch or resolution, or gradient checkpointing."]


def _options(config: TrainConfig) -> dict[str, Any]:
    """The method's options with their defaults, as a job keeps them."""
    record = registry.load("sdstudio.methods").get(config.method)
    options: dict[str, Any] = to_json(from_json(record.Options, config.method_options)) if record else {}
    return options


def _load(config: dict[str, Any]) -> Any:
    """What decides a step's time and memory: all but the method's finer options."""
    loop = config.get("loop", {})
    return _pace(config), loop.get("batch_size"), loop.get("gradient_accumulation"), loop.get("resolution")


def _pace(config: dict[str, Any]) -> Any:
    """What decides the time of one picture's pixel."""
    loop = config.get("loop", {})
    names = ("mixed_precision", "gradient_checkpointing", "compile", "optimizer")
    whose_side = bool(loop.get("resolution"))  # the base model's own side is not known here
    return config.get("method"), config.get("base_model"), whose_side, [loop.get(name) for name in names]


def _size(config: dict[str, Any]) -> Any:
    """What decides how large a checkpoint is: rates and weights, which are fractions, do not, nor does the trigger."""
    options = config.get("method_options", {})
    kept = {name: value for name, value in options.items() if not isinstance(value, float) and name != "trigger"}
    loop = config.get("loop", {})
    return config.get("method"), config.get("base_model"), kept, loop.get("optimizer"), bool(loop.get("ema_decay"))


def _work(config: dict[str, Any]) -> float:
    """Pixels of a step, up to a factor that runs of one pace share."""
    loop = config["loop"]
    return float(loop["batch_size"] * loop["gradient_accumulation"] * (loop["resolution"] or 1) ** 2)


def plan_of(ws: Workspace, config: TrainConfig) -> Plan | None:
    """How long the run is, if its settings go together; those that do not are refused elsewhere."""
    try:
        which = 1 if config.loop.caption_mode == "as written" else 0  # the captioned pictures, or all
        learned = _counts(ws, config.dataset)[which]
        more = [(_counts(ws, extra.dataset)[which], extra.repeats) for extra in config.mix]
        passes = learned * config.repeats + sum(pictures * repeats for pictures, repeats in more)
        return make_plan(config.loop, learned + sum(pictures for pictures, _ in more), max(passes, 1))
    except UserError:
        return None


def _disk(config: TrainConfig, plan: Plan, learned: int, state: int) -> int:
    """All the checkpoints that stay, with what is needed to go on from them."""
    written = len(plan.checkpoints)
    kept = min(written, config.loop.keep_last + len(plan.asked_for) + 1) if config.loop.keep_last else written
    return kept * learned + min(kept, config.loop.keep_state or kept) * state
