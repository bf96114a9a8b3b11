"""Who computes on a device: one holder at a time, known by name, freed by the system when it dies."""

import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from sdstudio.jobs.folder import Identity
from sdstudio.schema import UserError, from_json, to_json
from sdstudio.workspace import Workspace, read_json, write_json

POLL = 0.2


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a device. `what` is for a person to read; `job` its id, empty for interactive generation."""

    what: str
    job: str
    process: Identity
    since: float


class Lease:
    """The right to compute on some devices, all of them or none, until released or until its process dies.

    with Lease(ws, ["cuda:0"], "Interactive generation") as lease: ...
    """

    def __init__(self, ws: Workspace, devices: Iterable[str], what: str, job: str = "") -> None:
        self._ws, self._what, self._job = ws, what, job
        self.devices = tuple(sorted(set(devices)))  # a fixed order, so that two who want the same never wait in a ring
        self._taken: list[FileLock] = []

    def acquire(self, patience: Callable[[], bool] = lambda: False) -> bool:
        """Take every device; False, with none held, when one is another's and `patience()` says to wait no longer."""
        for device in self.devices:
            if not self._take(device, patience):
                self.release()
                return False
        return True

    @property
    def held(self) -> bool:
        """Whether the devices are held now."""
        return len(self._taken) == len(self.devices)

    def wanted(self) -> bool:
        """Whether somebody waits for one of the devices held here."""
        return any(not _try(_wanted_lock(self._ws, device), keep=False) for device in self.devices)

    def release(self) -> None:
        """Give back what is held; nothing happens when nothing is."""
        for device, lock in zip(self.devices, self._taken, strict=False):
            _holder_file(self._ws, device).unlink(missing_ok=True)
            lock.release()
        self._taken.clear()

    def __enter__(self) -> Self:
        if not self.acquire():
            raise UserError(f"{busy_text(self._ws, self.devices)}; try again when it has ended.")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _take(self, device: str, patience: Callable[[], bool]) -> bool:
        lock, wanted = device_lock(self._ws, device), _wanted_lock(self._ws, device)
        try:
            while not _try(lock):
                if not patience():
                    return False
                _try(wanted)
                time.sleep(POLL)
        finally:
            wanted.release(force=True)
        self._taken.append(lock)
        mine = Holder(what=self._what, job=self._job, process=Identity.of(os.getpid()), since=time.time())
        with suppress(OSError):  # a full disk keeps nobody from computing
            write_json(_holder_file(self._ws, device), to_json(mine))
        return True


def holder(ws: Workspace, device: str) -> Holder | None:
    """Who computes on the device now; None when nobody does, or nobody who lives."""
    try:
        found = from_json(Holder, read_json(_holder_file(ws, device)))
    except UserError:
        return None
    return found if found.process.process() else None


def busy_text(ws: Workspace, devices: Sequence[str]) -> str:
    """'cuda:0 is used by the job "asim"', for the first of the devices that somebody holds."""
    for device in devices:
        found = holder(ws, device)
        if found:
            return f"{device} is used by {found.what}"
    return f"{' or '.join(devices)} is used by another program of this workspace"


def device_lock(ws: Workspace, device: str) -> FileLock:
    """The lock that whoever computes on `device` holds; the system frees it when its holder dies."""
    return _lock(_path(ws, device, ".lock"))


def _wanted_lock(ws: Workspace, device: str) -> FileLock:
    """Held by one of those who wait for the device: how its holder learns that somebody does."""
    return _lock(_path(ws, device, ".wanted.lock"))


def _holder_file(ws: Workspace, device: str) -> Path:
    return _path(ws, device, ".holder.json")


def _path(ws: Workspace, device: str, suffix: str) -> Path:
    folder = ws.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{re.sub(r'[^A-Za-z0-9-]', '-', device)}{suffix}"


def _lock(path: Path) -> FileLock:
    return FileLock(path, thread_local=False)  # interactive generation takes it in one thread and returns it in another


def _try(lock: FileLock, keep: bool = True) -> bool:
    """Take the lock if it is free, once however often this is asked; without `keep` give it back at once."""
    if lock.is_locked:
        return True
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    if not keep:
        lock.release()
    return True
