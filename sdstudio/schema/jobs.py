"""What pages and commands see of a job, of where it runs, and of what it will need."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sdstudio.validation import STRICT, option

JobKind = Literal[
    "train", "generate", "grid", "evaluate", "logo", "shift", "caption", "try", "import", "push", "export", "publish"
]
JobState = Literal["queued", "starting", "running", "stopping", "succeeded", "failed", "cancelled", "interrupted"]
ENDED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled", "interrupted")


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a job runs. `device` is one name of `jobs.devices()`, several joined by commas, or empty for any."""

    __pydantic_config__ = STRICT
    backend: str = option("local", "'local' for this machine, or a cluster that the studio was given.")
    device: str = option("", "The device to run on, such as cuda:1; empty takes the first that is free.")
    processes: int = option(1, "Processes of one run, each on a GPU of its own.", low=1, high=1024)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a job's folder says of it. Times are seconds since the epoch; `done` of `total` in `unit`.

    `device` is where it runs or ran, empty before it started. `rate` is units per second over the last minute and
    `left` the seconds that the rest takes at that rate; None while there is nothing to measure. `position` counts from
    1 among the queued jobs. `traceback` is the file that holds it, `deleted` when it went into the trash.
    """

    id: str
    kind: JobKind
    title: str
    folder: Path
    state: JobState
    created: float
    owner: str = ""
    placement: Placement = field(default_factory=Placement)
    device: str = ""
    position: int | None = None
    started: float | None = None
    ended: float | None = None
    done: int = 0
    total: int = 0
    unit: str = ""
    rate: float | None = None
    left: float | None = None
    message: str = ""
    error: str = ""
    traceback: Path | None = None
    deleted: float | None = None

    @property
    def backend(self) -> str:
        return self.placement.backend


@dataclass(frozen=True, kw_only=True)
class Device:
    """A place that computes one job at a time. `memory` is in bytes, 0 where it is not known."""

    name: str
    label: str
    memory: int = 0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a job will need; None is not known. `notes` say, a sentence each, where the figures come from.

    `disk_bytes` is what its checkpoints take in the end, `free_bytes` what the workspace's disk has free.
    """

    seconds: float | None
    memory_bytes: int | None
    disk_bytes: int | None
    free_bytes: int
    notes: tuple[str, ...] = ()
