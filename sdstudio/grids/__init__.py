"""X/Y/Z grids: what their axes mean, which picture each cell is, and the sheets and table that they become."""

from sdstudio.grids.cells import Cell, cells, check_grid
from sdstudio.grids.parsing import MODEL, PROMPT, SETTINGS, Setting, parse_axes, parse_values
from sdstudio.grids.sheet import draw_sheet, label, read_cells, table

__all__ = [
    "MODEL",
    "PROMPT",
    "SETTINGS",
    "Cell",
    "Setting",
    "cells",
    "check_grid",
    "draw_sheet",
    "label",
    "parse_axes",
    "parse_values",
    "read_cells",
    "table",
]
