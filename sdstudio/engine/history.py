"""What a run has measured so far, as `metrics.jsonl` tells it: what to compare the next step with."""

import json
import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdstudio.workspace import atomic_write

_WINDOW, _LEAST = 50, 10
_EXPLODED = 50.0


@dataclass
class History:
    """Losses of the last steps, and (step, loss) of every validation; `base` is the loss before the first step."""

    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    validations: list[tuple[int, float]] = field(default_factory=list)
    base: float | None = None

    def take(self, line: dict[str, Any]) -> None:
        """Take in one line of metrics."""
        if line.get("loss") is not None:
            self.losses.append(line["loss"])
        if line.get("val_loss") is not None:
            self.validations.append((line["step"], line["val_loss"]))
            self.base = line["val_base"]

    def exploded(self, loss: float) -> bool:
        """True for a loss fifty times the mean of the last steps: a healthy one varies by ten."""
        usual = sum(self.losses) / max(1, len(self.losses))
        return len(self.losses) >= _LEAST and loss > _EXPLODED * usual

    def has_stalled(self, patience: int) -> bool:
        """True when the last `patience` validations (0: never) brought nothing better than those before."""
        losses = [loss for _, loss in self.validations]
        return bool(patience) and len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])

    def best(self, steps: set[int]) -> tuple[int, float] | None:
        """(step, loss) of the best validation at one of `steps`; the earlier of two that are equal."""
        return min((one for one in self.validations if one[0] in steps), key=lambda one: one[1], default=None)


def read_history(file: Path, last: int) -> History:
    """The history up to step `last`; later lines, and one that a crash has torn, are taken out of the file."""
    history = History()
    if not file.is_file():
        return history
    kept = []
    for text in file.read_text(encoding="utf-8").splitlines(keepends=True):
        line = json.loads(text) if text.endswith("\n") else {"step": math.inf}
        if line["step"] <= last:
            kept.append(text)
            history.take(line)
    atomic_write(file, "".join(kept))
    return history
