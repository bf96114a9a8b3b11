"""What a running job may say and ask: progress, numbers, log lines, and whether it should stop."""

import json
import math
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdstudio.workspace import Workspace, write_json

STOP_FILE = "STOP"
METRICS_FILE = "metrics.jsonl"
PROGRESS_FILE = "progress.json"
WINDOW = 60.0
"""Seconds that a job's rate is measured over."""


@dataclass(frozen=True)
class JobContext:
    """Handed to every job function; all it says lands in the job's own folder."""

    workspace: Workspace
    folder: Path
    _recent: deque[dict[str, Any]] = field(default_factory=deque, init=False, repr=False, compare=False)

    def progress(self, done: int, total: int, unit: str = "", message: str = "") -> None:
        """Say that `done` of `total` are finished; replaces what was said before.

        What is written includes the oldest report of the last minute, from which the rate follows; nothing counts
        before the first unit is done, so that loading models does not.
        """
        said = {"done": done, "total": total, "unit": unit, "message": message, "time": time.time()}
        write_json(self.folder / PROGRESS_FILE, {**said, "since": self._since(said)})

    def _since(self, said: dict[str, Any]) -> dict[str, Any] | None:
        recent = self._recent
        if recent and not (said["done"] >= recent[-1]["done"] and _is_one_phase(said, recent[-1])):
            recent.clear()
        while len(recent) > 1 and recent[1]["time"] < said["time"] - WINDOW:
            recent.popleft()
        if said["done"] and (not recent or said["time"] - recent[-1]["time"] > WINDOW / 100):
            recent.append({key: said[key] for key in ("done", "total", "unit", "time")})
        return {key: recent[0][key] for key in ("done", "time")} if recent else None

    def metrics(self, **numbers: Any) -> None:
        """Append one line of numbers to `metrics.jsonl`, stamped with the time; one that is not finite becomes null."""
        finite = {
            name: None if isinstance(number, float) and not math.isfinite(number) else number
            for name, number in numbers.items()
        }
        with (self.folder / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), **finite}, allow_nan=False) + "\n")

    def log(self, text: str) -> None:
        """One line for `log.txt` (a worker's standard output goes there)."""
        print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)

    def should_stop(self) -> bool:
        """True once somebody asked the job to save what it has and end."""
        return (self.folder / STOP_FILE).exists()


def _is_one_phase(said: dict[str, Any], before: dict[str, Any]) -> bool:
    return (said["total"], said["unit"]) == (before["total"], before["unit"])
