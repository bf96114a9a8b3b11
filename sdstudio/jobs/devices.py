"""Where jobs run: one at a time on each GPU, or on the CPU when there is none. Found without loading torch."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Sequence
from functools import cache

import psutil

from sdstudio.schema import Device, Placement, UserError

DISK, NETWORK = "disk", "network"
"""The places of jobs that only move files (import, push): beside those that compute, one at a time in each."""
LOCAL = "local"
DEVICES_VAR = "SDSTUDIO_DEVICES"
"""Names the devices instead of looking for them: 'cuda:0,cpu', or 'cpu:0,cpu:1' for two jobs at a time on the CPU."""
_NAME = re.compile(r"cpu(:\d+)?|cuda:[A-Za-z0-9-]+")


def compute_devices() -> tuple[str, ...]:
    """'cuda:0', … for each GPU that this process may use, else 'cpu'; what SDSTUDIO_DEVICES names, where it is set."""
    named = _split(os.environ.get(DEVICES_VAR, ""))
    if named:
        wrong = [name for name in named if not _NAME.fullmatch(name)]
        if wrong:
            raise UserError(f"{DEVICES_VAR} names {wrong[0]!r}, which is no device: write cpu:0, cuda:0 and so on.")
        return named
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        names = tuple(str(index) for index in range(len(_gpus())))
    else:
        names = tuple(name for name in _split(visible) if name != "-1")
    return tuple(f"cuda:{name}" for name in names) or ("cpu",)


def devices() -> list[Device]:
    """The devices that compute, each with its label and memory."""
    return [_describe(name) for name in compute_devices()]


def check_placement(placement: Placement, place: str) -> None:
    """Refuse what this machine cannot give, with a UserError that names what it has."""
    if place:
        if placement != Placement():
            raise UserError("A job that only moves files takes no device: leave the placement out.")
        return
    if placement.backend != LOCAL:
        return
    there = compute_devices()
    asked = _split(placement.device)
    missing = missing_device(placement)
    if missing:
        raise UserError(f"There is no device {missing!r} on this machine; choose one of {', '.join(there)}.")
    if devices_needed(placement, there) > len(asked or there):
        raise UserError(
            f"{placement.processes} processes need a device each, and there are {len(asked or there)} "
            f"({', '.join(asked or there)}): ask for fewer processes."
        )


def missing_device(placement: Placement) -> str:
    """A device that a job waits for and this machine does not have; empty when there is none."""
    there = compute_devices() if placement.backend == LOCAL else ()
    return next((name for name in _split(placement.device) if there and name not in there), "")


def free_devices(placement: Placement, places: Sequence[str], busy: Collection[str]) -> tuple[str, ...]:
    """Those of `places` that the job may take and nobody has."""
    asked = _split(placement.device)
    return tuple(name for name in places if name not in busy and (not asked or name in asked))


def devices_needed(placement: Placement, places: Sequence[str]) -> int:
    """One for each process; a run's processes share the CPU where that is the one device, or a place of a cluster."""
    return placement.processes if placement.backend == LOCAL and tuple(places) != ("cpu",) else 1


def device_environment(device: str) -> dict[str, str]:
    """The variables that show a worker its own GPUs (names joined by commas) and no other; on the CPU none."""
    names = _split(device)
    if not any(name.startswith(("cuda:", "cpu")) for name in names):
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(name.removeprefix("cuda:") for name in names if name.startswith("cuda:"))}


def _split(names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _describe(name: str) -> Device:
    if name.startswith("cpu"):
        return Device(name=name, label=f"CPU, {os.cpu_count()} cores", memory=psutil.virtual_memory().total)
    index = name.removeprefix("cuda:")
    found = next((gpu for gpu in _gpus() if index in gpu[:2]), None)
    return Device(name=name, label=found[2], memory=int(found[3]) * 2**20) if found else Device(name=name, label=name)


@cache
def _gpus() -> tuple[tuple[str, str, str, str], ...]:
    """Index, UUID, name and MiB of memory of each NVIDIA GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = (tuple(cell.strip() for cell in line.split(",")) for line in listing.splitlines())
    return tuple((row[0], row[1], row[2], row[3]) for row in rows if len(row) == 4 and row[3].isdigit())
