"""What `sdstudio doctor` finds on machines that differ from this one.

pytest tests/test_doctor.py
"""

import os
import shutil
import sqlite3
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from sdstudio import doctor
from sdstudio.doctor import GIB, Check
from sdstudio.jobs.devices import DEVICES_VAR
from sdstudio.jobs.locks import Lease
from sdstudio.workspace import Workspace

PINS = ["torch==2.13.0", "filelock==4.2.11", 'ray[default]==2.50.0; extra == "ray"', 'ruff==0.17.5; extra == "dev"']


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The versions of installed packages, for a test to change."""
    found = {"torch": "2.13.0+cpu", "filelock": "4.2.11"}

    def version(name: str) -> str:
        if name not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(metadata, "requires", lambda package: PINS)
    monkeypatch.setattr(metadata, "version", version)
    return found


def look(ws: Workspace, check: object) -> Check:
    (found,) = doctor._look(check, ws)
    return found


def test_packages_are_held_against_the_versions_that_were_tested(ws: Workspace, installed: dict[str, str]) -> None:
    assert look(ws, doctor._packages).level == "ok"
    installed |= {"torch": "2.9.1"}
    del installed["filelock"]
    found = look(ws, doctor._packages)
    assert (found.level, found.finding) == ("warn", "torch 2.9.1 in place of 2.13.0; filelock is not installed")
    assert "pip install -r requirements.txt" in found.advice


def test_what_only_some_choices_need_is_listed_with_how_to_get_it(ws: Workspace, installed: dict[str, str]) -> None:
    ray = doctor._optional(ws)[0]
    assert (ray.name, ray.level, ray.finding) == ("ray", "ok", "not installed; only for jobs on a Ray cluster")
    assert ray.advice == "pip install 'sdstudio[ray]'"
    installed["ray"] = "2.50.0"
    ray = doctor._optional(ws)[0]
    assert (ray.finding, ray.advice) == ("2.50.0, for jobs on a Ray cluster", "")


def test_a_studio_that_is_not_installed_is_said(ws: Workspace, monkeypatch) -> None:
    def requires(package: str) -> list[str]:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "requires", requires)
    found = look(ws, doctor._packages)
    assert found.level == "error" and "pip install -e ." in found.finding


def test_who_uses_a_device_is_said(ws: Workspace, monkeypatch) -> None:
    monkeypatch.setenv(DEVICES_VAR, "cpu:0,cpu:1")
    with Lease(ws, ["cpu:1"], "the job asim"):
        found = look(ws, doctor._device)
    assert found.level == "warn" and "fine without" in found.advice
    first, second = found.finding.split("; ")
    assert first.startswith(f"cpu:0: CPU, {os.cpu_count()} cores") and "used" not in first
    assert second.endswith("used by the job asim")


def test_a_gpu_that_torch_cannot_use_is_said(ws: Workspace, monkeypatch) -> None:
    monkeypatch.setenv(DEVICES_VAR, "cuda:0")
    cuda = SimpleNamespace(is_available=lambda: False)
    versions = SimpleNamespace(cuda=None, hip=None)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2.13.0+cpu", cuda=cuda, version=versions))
    found = look(ws, doctor._torch)
    assert found.level == "warn" and "does not see the GPU" in found.finding and "CUDA build" in found.advice
    versions.cuda = "12.8"
    assert "driver" in look(ws, doctor._torch).advice


@pytest.mark.parametrize(
    ("free", "level"), [(80 * GIB, "ok"), (GIB, "warn"), (GIB // 8, "error")], ids=["enough", "little", "hardly any"]
)
def test_a_small_disk_is_said(ws: Workspace, monkeypatch, free: int, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    found = look(ws, doctor._disk)
    assert found.level == level and bool(found.advice) == (level != "ok")


def test_little_memory_and_old_programs_are_said(ws: Workspace, monkeypatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=GIB, total=4 * GIB))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 0))
    monkeypatch.setattr(doctor, "OLDEST_PYTHON", (9, 0))
    assert [look(ws, check).level for check in (doctor._memory, doctor._sqlite, doctor._python)] == [
        "warn",
        "error",
        "error",
    ]
