"""A job in plain words: what it is, where it runs, how fast, what it says of itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from sdstudio.schema import Device, Job
from sdstudio.ui.text import duration, size

KINDS: dict[str, tuple[str, str]] = {
    "train": ("Training", ":material/model_training:"),
    "generate": ("Pictures", ":material/brush:"),
    "grid": ("Grid", ":material/grid_on:"),
    "evaluate": ("Comparison", ":material/analytics:"),
    "logo": ("Logo", ":material/badge:"),
    "shift": ("Shift", ":material/scatter_plot:"),
    "caption": ("Captions", ":material/edit_note:"),
    "try": ("Captions tried", ":material/labs:"),
    "import": ("Import", ":material/add_photo_alternate:"),
    "push": ("Push to the Hub", ":material/cloud_upload:"),
    "export": ("Export", ":material/ios_share:"),
    "publish": ("Model to the Hub", ":material/cloud_upload:"),
}
NUMBERS = {
    "loss": "Loss",
    "val_loss": "Validation loss",
    "lr": "Learning rate",
    "val_base": "Validation loss of the base model",
    "grad_norm": "Gradient norm",
    "images_per_second": "Pictures per second",
    "memory_bytes": "Memory",
}
"""The numbers that are shown, in this order, by the names that the training writes."""


def kind_label(kind: str) -> str:
    return KINDS.get(kind, (kind.capitalize(), ""))[0]


def kind_icon(kind: str) -> str:
    return KINDS.get(kind, ("", ":material/work:"))[1]


def title_of(job: Job) -> str:
    return job.title or kind_label(job.kind)


def device_text(name: str) -> str:
    """Devices as a person calls them: 'GPU 0, GPU 1', 'CPU'; a name that is not known stays as it is."""
    return ", ".join(_device(part.strip()) for part in name.split(",") if part.strip())


def _device(name: str) -> str:
    kind, _, number = name.partition(":")
    called = {"cuda": "GPU", "cpu": "CPU"}.get(kind, kind)
    return f"{called} {number}" if number else called


def where_text(job: Job) -> str:
    """Where the job runs or ran; a cluster by its name."""
    device = device_text(job.device or job.placement.device)
    return device if job.backend == "local" else " ".join(part for part in (job.backend.capitalize(), device) if part)


def facts(job: Job, owner: bool = False) -> str:
    """Kind and place in one line; with `owner` also who asked for it."""
    return " · ".join(part for part in (kind_label(job.kind), where_text(job), job.owner if owner else "") if part)


def end_text(job: Job) -> str:
    """Why it ended and what was kept, with the page's button where the command line has a command."""
    return (job.error or job.message).replace(f"`sdstudio jobs resume {job.id}`", "Resume")


def progress_text(job: Job) -> str:
    """How far a live job is, how fast it goes and how long it still takes."""
    if job.message.startswith("waits"):
        return f"It {_with_devices_called(job)}"
    if job.state == "queued":
        return "Waiting for its turn" if job.position in (None, 1) else f"Waiting: number {job.position} in the queue"
    if not job.total:
        return job.message or "Starting: the models are being loaded"
    amount = f"{job.done:,} of {job.total:,} {job.unit}".strip()
    left = f"about {duration(job.left)} left" if job.left is not None and job.done < job.total else ""
    return " · ".join(part for part in (amount, rate_text(job), left, job.message) if part)


def _with_devices_called(job: Job) -> str:
    """Its message, with devices as a person calls them."""
    message = job.message
    for name in filter(None, (job.device or job.placement.device).split(",")):
        message = message.replace(name, device_text(name), 1)
    return message


def rate_text(job: Job) -> str:
    """'3.2 steps/s', by the minute or the hour where that reads better; '' while nothing is measured."""
    if not job.rate:
        return ""
    for per, seconds in (("s", 1), ("min", 60)):
        if job.rate * seconds >= 1:
            return f"{_short(job.rate * seconds)} {job.unit or 'items'}/{per}"
    return f"{_short(job.rate * 3600)} {job.unit or 'items'}/h"


def share(job: Job) -> float:
    return min(max(job.done / job.total, 0.0), 1.0) if job.total else 0.0


def numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The newest value of each number that a job wrote, by what a person calls it."""
    newest: dict[str, Any] = {}
    for row in rows:
        newest |= {name: value for name, value in row.items() if name in NUMBERS and value is not None}
    return {label: _number(name, newest[name]) for name, label in NUMBERS.items() if name in newest}


def _number(name: str, value: float) -> str:
    return size(value) if name == "memory_bytes" else f"{value:.4g}"


def device_line(device: Device) -> str:
    """What the device is, beyond its name: 'NVIDIA H200, 139 GiB'."""
    label = device.label if device.label != device.name else ""
    return ", ".join(part for part in (label, f"{device.memory / 2**30:.0f} GiB" if device.memory else "") if part)


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"
