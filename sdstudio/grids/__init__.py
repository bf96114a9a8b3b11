"""X/Y/Z grids: what their axes mean, which picture each cell is, and the sheets and table that they become."""

from sdstudio.grids.cells import Cell, cells, check_grid
from sdstudio.grids.parsing import MODEL, SETTINGS, Setting, parse_axes, parse_values
from sdstudio.grids.sheet import draw_sheet, read_cells, table

__all__ = [
    "MODEL",
    "SETTINGS",
    "Cell",
    "Setting",
    "cells",
    "check_grid",
    "draw_sheet",
    "parse_axes",
    "parse_values",
    "read_cells",
    "table",
]
