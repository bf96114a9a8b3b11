"""Where jobs run: one at a time on each GPU, or on the CPU when there is none. Found without loading torch."""

import os
import re
import shutil
import subprocess
from functools import cache

from filelock import FileLock

from sdstudio.workspace import Workspace

DISK, NETWORK = "disk", "network"
"""The places of jobs that only move files (import, push): beside those that compute, one at a time in each."""


@cache
def compute_devices() -> tuple[str, ...]:
    """'cuda:0', … for each GPU that this process may use, else 'cpu'."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        names = [str(index) for index in range(_count_gpus())]
    else:
        names = [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return tuple(f"cuda:{name}" for name in names) or ("cpu",)


def _count_gpus() -> int:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return len(re.findall(r"^GPU \d+:", listing, flags=re.MULTILINE))


def devices_for(place: str) -> tuple[str, ...]:
    """The devices that a job of this place may run on; the empty place is any that computes."""
    return (place,) if place else compute_devices()


def device_environment(device: str) -> dict[str, str]:
    """The variables that show a worker its own GPU and no other."""
    return {"CUDA_VISIBLE_DEVICES": device.removeprefix("cuda:")} if device.startswith("cuda:") else {}


def device_lock(ws: Workspace, device: str) -> FileLock:
    """The lock that whoever computes on `device` holds; the system frees it when its holder dies."""
    folder = ws.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{re.sub(r'[^A-Za-z0-9-]', '-', device)}.lock")
