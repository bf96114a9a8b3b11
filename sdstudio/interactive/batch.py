"""What one person asked for at once, and how far it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sdstudio.schema import GenerateConfig, GeneratedImage

State = Literal["waiting", "loading", "drawing", "done", "stopped", "failed"]
ENDED: tuple[State, ...] = ("done", "stopped", "failed")
HANDFUL = 16
"""More pictures than this are a job of their own."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch as it is at one moment.

    `images` are those that lie in `folder`. `step` of `steps` is where the pictures stand that are being drawn, and
    `forming` a rough look at each of them, as PNG files. `message` is for a person to read: what is waited for, or why
    it ended. Times are in seconds since the epoch. `ending` is set when no other pictures are to be begun, `cancelled`
    when those in hand are given up too.
    """

    id: str
    folder: Path
    config: GenerateConfig
    state: State = "waiting"
    images: tuple[GeneratedImage, ...] = ()
    drawing: int = 0
    step: int = 0
    steps: int = 0
    forming: tuple[bytes, ...] = ()
    message: str = ""
    asked: float
    started: float | None = None
    ended: float | None = None
    seconds_left: float | None = None
    ending: bool = False
    cancelled: bool = False

    @property
    def total(self) -> int:
        """How many pictures were asked for."""
        return pictures_asked(self.config)

    @property
    def is_live(self) -> bool:
        return self.state not in ENDED

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        under_way = self.drawing * self.step / self.steps if self.steps else 0.0
        return min(1.0, (len(self.images) + under_way) / max(self.total, 1))


def pictures_asked(config: GenerateConfig) -> int:
    """How many pictures a config asks for."""
    return len(config.models) * len(config.prompts) * config.count
