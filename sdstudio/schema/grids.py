"""Grids: one picture a cell, over up to three settings."""

from dataclasses import dataclass, field

from sdstudio.schema.generating import GenerateConfig
from sdstudio.validation import STRICT


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One direction of a grid: a setting by its name (see `sdstudio.grids.SETTINGS`) and its values as they are typed.

    For 'prompt' the first value is the text that is replaced by each of them in turn.
    """

    __pydantic_config__ = STRICT
    setting: str
    values: list[str]


@dataclass(frozen=True, kw_only=True)
class GridConfig:
    """Pictures that differ from `base` in the settings of the axes: columns, rows and, with a third, sheets.

    `base` is one prompt and one model.
    """

    __pydantic_config__ = STRICT
    base: GenerateConfig = field(default_factory=GenerateConfig)
    axes: list[Axis] = field(default_factory=list)
