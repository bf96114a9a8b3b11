"""What pages and commands see of a job."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

JobKind = Literal["train", "generate", "evaluate", "caption", "try", "import", "push"]
JobState = Literal["queued", "starting", "running", "stopping", "succeeded", "failed", "cancelled", "interrupted"]
ENDED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled", "interrupted")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a job's folder says of it. Times are seconds since the epoch; `done` of `total` in `unit`."""

    id: str
    kind: JobKind
    title: str
    folder: Path
    state: JobState
    created: float
    started: float | None = None
    ended: float | None = None
    done: int = 0
    total: int = 0
    unit: str = ""
    message: str = ""
    error: str = ""
