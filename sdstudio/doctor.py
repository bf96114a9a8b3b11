"""What this machine has and lacks: one line for each thing the studio needs, with what to do."""

import importlib.util
import os
import platform
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import psutil

from sdstudio.jobs import backends
from sdstudio.jobs.devices import compute_devices, devices
from sdstudio.jobs.locks import holder
from sdstudio.words import first_line
from sdstudio.workspace import OWN_FOLDER, Workspace, atomic_write

GIB = 2**30
PACKAGE = "sdstudio"
OLDEST_PYTHON = (3, 11)
OLDEST_SQLITE = (3, 35)
INSTALL = "pip install -r requirements.txt"
_PIN = re.compile(r"([\w.-]+)\s*==\s*([\w.+-]+)")
OPTIONAL = {
    "ray": ("jobs on a Ray cluster", f"pip install '{PACKAGE}[ray]'"),
    "opencv-python-headless": ("crops that keep faces", f"pip install '{PACKAGE}[faces]'"),
    "bitsandbytes": ("the optimizer 'adamw 8-bit', on a GPU", "pip install bitsandbytes"),
    "prodigyopt": ("the optimizer 'prodigy'", "pip install prodigyopt"),
}
"""Packages with what asks for them, and how to get them."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing looked at. `advice` says what to do about a warning or an error."""

    name: str
    level: Literal["ok", "warn", "error"]
    finding: str
    advice: str = ""

    def advice_text(self) -> str:
        return f"\n       {self.advice}" if self.advice else ""


def examine(ws: Workspace) -> list[Check]:
    """Look at everything; no check ends the others. Loads torch and the starter models, which takes seconds."""
    return [found for check in CHECKS for found in _look(check, ws)] + _clusters(ws) + _optional(ws)


def _look(check: Callable[[Workspace], Check], ws: Workspace) -> list[Check]:
    try:
        return [check(ws)]
    except ImportError as error:
        advice = f"Install the requirements: {INSTALL}."
        return [Check(name=check.__name__.strip("_"), level="error", finding=str(error), advice=advice)]


def _python(ws: Workspace) -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if sys.version_info < OLDEST_PYTHON:
        return Check(name="Python", level="error", finding=found, advice="Install Python 3.11 or later.")
    return Check(name="Python", level="ok", finding=found)


def _packages(ws: Workspace) -> Check:
    pins = _pins()
    wrong = [text for pin in pins.items() if (text := _difference(*pin))]
    if wrong:
        return Check(name="packages", level="warn", finding="; ".join(wrong), advice=f"{INSTALL} brings those tested.")
    return Check(name="packages", level="ok", finding=f"{len(pins)} in the versions that were tested")


def _torch(ws: Workspace) -> Check:
    import torch

    build = f"{torch.__version__}, built for " + (
        f"CUDA {torch.version.cuda}"
        if torch.version.cuda
        else f"ROCm {torch.version.hip}"
        if torch.version.hip
        else "the CPU"
    )
    if any(name.startswith("cuda:") for name in compute_devices()) and not torch.cuda.is_available():
        advice = (
            "Update the NVIDIA driver."
            if torch.version.cuda
            else "Install a CUDA build of the same version: https://pytorch.org/get-started/locally."
        )
        return Check(name="torch", level="warn", finding=f"{build}; it does not see the GPU", advice=advice)
    return Check(name="torch", level="ok", finding=build)


def _torchvision(ws: Workspace) -> Check:
    if importlib.util.find_spec("torchvision") is None:
        return Check(name="torchvision", level="ok", finding="not installed, and not needed")
    try:
        import torchvision
    except Exception as error:  # a build that does not match torch fails in many ways
        finding = f"installed but broken ({type(error).__name__}: {first_line(error)})"
        advice = "It breaks transformers as well: pip uninstall torchvision."
        return Check(name="torchvision", level="error", finding=finding, advice=advice)
    return Check(name="torchvision", level="ok", finding=str(torchvision.__version__))


def _device(ws: Workspace) -> Check:
    found = []
    for device in devices():
        user = holder(ws, device.name)
        memory = f", {device.memory / GIB:.0f} GiB" if device.memory else ""
        found.append(f"{device.name}: {device.label}{memory}" + (f", used by {user.what}" if user else ""))
    if all(name.startswith("cpu") for name in compute_devices()):
        advice = "No GPU: the starter models are fine without; a full-size Stable Diffusion wants one."
        return Check(name="device", level="warn", finding="; ".join(found), advice=advice)
    return Check(name="device", level="ok", finding="; ".join(found))


def _memory(ws: Workspace) -> Check:
    memory = psutil.virtual_memory()
    finding = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    if memory.available < 2 * GIB:
        return Check(name="memory", level="warn", finding=finding, advice="Close other programs; 2 GiB should be free.")
    return Check(name="memory", level="ok", finding=finding)


def _sqlite(ws: Workspace) -> Check:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        advice = "Use a Python built with SQLite 3.35 or later."
        return Check(name="SQLite", level="error", finding=sqlite3.sqlite_version, advice=advice)
    return Check(name="SQLite", level="ok", finding=sqlite3.sqlite_version)


def _workspace(ws: Workspace) -> Check:
    probe = ws.root / ".doctor"
    try:
        atomic_write(probe, "")
        probe.unlink()
    except OSError as error:
        finding = f"{ws.root} cannot be written ({error.strerror})"
        return Check(name="workspace", level="error", finding=finding, advice=OWN_FOLDER)
    return Check(name="workspace", level="ok", finding=str(ws.root))


def _disk(ws: Workspace) -> Check:
    free = shutil.disk_usage(ws.root).free
    finding = f"{free / GIB:.1f} GiB free for the workspace"
    if free < 2 * GIB:
        advice = "Free some space, or put the workspace on another disk."
        return Check(name="disk", level="warn" if free > GIB / 4 else "error", finding=finding, advice=advice)
    return Check(name="disk", level="ok", finding=finding)


def _starter(ws: Workspace) -> Check:
    import diffusers
    import transformers

    from sdstudio.models import STARTER

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    loaders: dict[str, Callable[..., object]] = {
        "sd": diffusers.StableDiffusionPipeline.from_pretrained,
        "clip": transformers.CLIPModel.from_pretrained,
        "blip": transformers.BlipForConditionalGeneration.from_pretrained,
    }
    for name, load in loaders.items():
        try:
            load(str(STARTER / name), local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, RuntimeError) as error:
            finding = f"{name} does not load ({first_line(error)})"
            advice = (
                "Restore it with `git checkout -- sdstudio/starter`, or build it: python -m sdstudio.starter.build."
            )
            return Check(name="starter", level="error", finding=finding, advice=advice)
    return Check(name="starter", level="ok", finding=f"{', '.join(loaders)} load")


def _clusters(ws: Workspace) -> list[Check]:
    """Where else jobs can run; nothing there is needed."""
    return [
        Check(name=place.label, level="ok", finding="not set up" if place.why_not else "ready", advice=place.why_not)
        for place in backends.available(ws)
        if place.name != backends.LOCAL
    ]


def _optional(ws: Workspace) -> list[Check]:
    """The packages that only some choices need."""
    found = []
    for package, (purpose, install) in OPTIONAL.items():
        try:
            found.append(Check(name=package, level="ok", finding=f"{metadata.version(package)}, for {purpose}"))
        except metadata.PackageNotFoundError:
            found.append(Check(name=package, level="ok", finding=f"not installed; only for {purpose}", advice=install))
    return found


def _pins() -> dict[str, str]:
    """The packages that nothing works without, in the versions that were tested."""
    try:
        texts = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise ImportError(f"{PACKAGE} is not installed: pip install -e .") from error
    return {match[1]: match[2] for text in texts if (match := _PIN.fullmatch(text))}


def _difference(package: str, wanted: str) -> str:
    """How what is installed differs; empty when it does not."""
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"{package} is not installed"
    return "" if found.partition("+")[0] == wanted else f"{package} {found} in place of {wanted}"


CHECKS: tuple[Callable[[Workspace], Check], ...] = (
    _python,
    _packages,
    _torch,
    _torchvision,
    _device,
    _memory,
    _sqlite,
    _workspace,
    _disk,
    _starter,
)
