"""What a running job may say and ask: progress, numbers, log lines, and whether it should stop."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdstudio.workspace import Workspace, write_json

STOP_FILE = "STOP"
METRICS_FILE = "metrics.jsonl"
PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class JobContext:
    """Handed to every job function; all it says lands in the job's own folder."""

    workspace: Workspace
    folder: Path

    def progress(self, done: int, total: int, unit: str = "", message: str = "") -> None:
        """Say that `done` of `total` are finished; replaces what was said before."""
        write_json(
            self.folder / PROGRESS_FILE,
            {"done": done, "total": total, "unit": unit, "message": message, "time": time.time()},
        )

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
