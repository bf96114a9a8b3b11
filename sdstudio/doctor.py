"""What this machine has and lacks: one line for each thing the studio needs, with what to do."""

import importlib.util
import os
import platform
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import psutil

from sdstudio.jobs.devices import compute_devices
from sdstudio.workspace import ENV_VAR, Workspace, atomic_write

GIB = 2**30


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
    return [_look(check, ws) for check in CHECKS]


def _look(check: Callable[[Workspace], Check], ws: Workspace) -> Check:
    try:
        return check(ws)
    except ImportError as error:
        advice = "Install the requirements: pip install -r requirements.txt."
        return Check(name=check.__name__.strip("_"), level="error", finding=str(error), advice=advice)


def _python(ws: Workspace) -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Check(name="Python", level="ok", finding=found)


def _torch(ws: Workspace) -> Check:
    import torch

    if torch.cuda.is_available():
        return Check(name="torch", level="ok", finding=f"{torch.__version__} with CUDA {torch.version.cuda}")
    if compute_devices() != ("cpu",):
        advice = "Install a CUDA build of the same torch version, or update the NVIDIA driver."
        return Check(name="torch", level="warn", finding=f"{torch.__version__} does not see the GPU", advice=advice)
    return Check(name="torch", level="ok", finding=f"{torch.__version__}, CPU build or no GPU")


def _torchvision(ws: Workspace) -> Check:
    if importlib.util.find_spec("torchvision") is None:
        return Check(name="torchvision", level="ok", finding="not installed, and not needed")
    try:
        import torchvision
    except Exception as error:  # a build that does not match torch fails in many ways
        finding = f"installed but broken ({type(error).__name__}: {str(error).splitlines()[0]})"
        advice = "It breaks transformers as well: pip uninstall torchvision."
        return Check(name="torchvision", level="error", finding=finding, advice=advice)
    return Check(name="torchvision", level="ok", finding=str(torchvision.__version__))


def _device(ws: Workspace) -> Check:
    import torch

    if torch.cuda.is_available():
        names = [
            f"{torch.cuda.get_device_name(index)}, {torch.cuda.get_device_properties(index).total_memory / GIB:.0f} GiB"
            for index in range(torch.cuda.device_count())
        ]
        return Check(name="device", level="ok", finding="; ".join(names))
    advice = "The starter models are fine on it; a full-size Stable Diffusion wants a GPU."
    return Check(name="device", level="warn", finding="CPU only", advice=advice)


def _memory(ws: Workspace) -> Check:
    memory = psutil.virtual_memory()
    finding = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    if memory.available < 2 * GIB:
        return Check(name="memory", level="warn", finding=finding, advice="Close other programs; 2 GiB should be free.")
    return Check(name="memory", level="ok", finding=finding)


def _sqlite(ws: Workspace) -> Check:
    if sqlite3.sqlite_version_info < (3, 35):
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
        advice = f"Set {ENV_VAR} or --workspace to a folder of your own."
        return Check(name="workspace", level="error", finding=finding, advice=advice)
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
            finding = f"{name} does not load ({str(error).splitlines()[0]})"
            advice = (
                "Restore it with `git checkout -- sdstudio/starter`, or build it: python -m sdstudio.starter.build."
            )
            return Check(name="starter", level="error", finding=finding, advice=advice)
    return Check(name="starter", level="ok", finding=f"{', '.join(loaders)} load")


CHECKS: tuple[Callable[[Workspace], Check], ...] = (
    _python,
    _torch,
    _torchvision,
    _device,
    _memory,
    _sqlite,
    _workspace,
    _disk,
    _starter,
)
