"""A grid as people take it away: a labelled picture of each sheet, and a table of its cells."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sdstudio.grids.parsing import SETTINGS
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import Axis, GridConfig
from sdstudio.workspace import read_json_lines

CELLS_FILE = "cells.jsonl"
LARGEST = 12_000
"""Pixels along a side of a sheet at most; its pictures are made smaller beyond that."""
_GAP, _INK, _PAPER, _MISSING = 8, (32, 32, 32), (255, 255, 255), (232, 232, 232)

Place = tuple[int, int, int]


def read_cells(folder: Path) -> dict[Place, str]:
    """Which file is in which cell (column, row, sheet), as far as the job has come."""
    found: dict[Place, str] = {}
    for line in read_json_lines(folder / CELLS_FILE):
        x, y, z = line["cell"]
        found[x, y, z] = line["file"]
    return found


def label(axis: Axis, number: int) -> str:
    """'Steps 20'; for a replaced prompt the words themselves."""
    setting, value = SETTINGS[axis.setting], axis.values[number]
    return f"{setting.label} {value}" if setting.field is not None else value


def axis_at(config: GridConfig, place: int) -> Axis | None:
    """The axis of the columns (0), rows (1) or sheets (2)."""
    return config.axes[place] if place < len(config.axes) else None


def draw_sheet(config: GridConfig, folder: Path, sheet: int = 0) -> Image.Image:
    """One sheet with its axes' labels; a cell that is not drawn yet is grey."""
    columns, rows, sheets = (axis_at(config, place) for place in range(3))
    files = read_cells(folder)
    width, height = _cell_size(folder, list(files.values()), columns, rows)
    font = ImageFont.load_default(size=max(11, min(width // 14, 28)))
    across = _labels(columns, font, width)
    down = _labels(rows, font, max(width, 120))
    left = max((_size(text, font)[0] for text in down), default=0) + 2 * _GAP if rows else _GAP
    head = [config.base.prompts[0]] + ([label(sheets, sheet)] if sheets else [])
    total_width = left + len(across) * (width + _GAP)
    title = _wrapped("\n".join(head), font, total_width - left)
    top = _size(title, font)[1] + max(_size(text, font)[1] for text in across) + 3 * _GAP
    page = Image.new("RGB", (total_width, top + len(down) * (height + _GAP)), _PAPER)
    pen = ImageDraw.Draw(page)
    pen.multiline_text((left, _GAP), title, fill=_INK, font=font)
    for x, text in enumerate(across):
        pen.multiline_text((left + x * (width + _GAP), top - _GAP // 2), text, fill=_INK, font=font, anchor="ld")
    for y, text in enumerate(down):
        if rows:
            middle = top + y * (height + _GAP) + height // 2
            pen.multiline_text((_GAP, middle), text, fill=_INK, font=font, anchor="lm")
        for x in range(len(across)):
            corner = (left + x * (width + _GAP), top + y * (height + _GAP))
            page.paste(_picture(folder, files.get((x, y, sheet)), (width, height)), corner)
    return page


def table(config: GridConfig, folder: Path) -> str:
    """CSV with a row for each drawn cell: the axes' values, then the picture's file and what it was asked with."""
    images = {image.file: image for image in read_images(folder)}
    memory = io.StringIO()
    writer = csv.writer(memory)
    names = [SETTINGS[axis.setting].label for axis in config.axes]
    writer.writerow(
        [*names, "file", "prompt", "negative_prompt", "model", "seed", "steps", "guidance_scale", "sampler"]
    )
    for place, file in sorted(read_cells(folder).items(), key=lambda item: item[0][::-1]):
        image = images.get(file)
        if image is None:
            continue
        settings = image.settings
        values = [axis.values[number] for axis, number in zip(config.axes, place, strict=False)]
        asked = [image.prompt, image.negative_prompt, image.model.label or image.model.base_model, image.seed]
        writer.writerow([*values, file, *asked, settings.steps, settings.guidance_scale, settings.scheduler])
    return memory.getvalue()


def _cell_size(folder: Path, files: Sequence[str], columns: Axis | None, rows: Axis | None) -> tuple[int, int]:
    """Of the largest picture, made smaller where the sheet would be too large."""
    sizes = [(image.width, image.height) for image in read_images(folder) if image.file in set(files)]
    width, height = (max(sides) for sides in zip(*sizes, strict=True)) if sizes else (256, 256)
    wide, tall = len(columns.values) if columns else 1, len(rows.values) if rows else 1
    scale = min(1.0, LARGEST / (wide * (width + _GAP)), LARGEST / (tall * (height + _GAP)))
    enlarge = 128 // max(width, height) or 1  # labels need room beside tiny pictures
    return int(width * scale) * enlarge, int(height * scale) * enlarge


def _picture(folder: Path, file: str | None, size: tuple[int, int]) -> Image.Image:
    try:
        with Image.open(folder / (file or "")) as picture:
            fitted = picture.convert("RGB")
    except OSError:
        return Image.new("RGB", size, _MISSING)
    scale = min(size[0] / fitted.width, size[1] / fitted.height)
    filter = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    fitted = fitted.resize((round(fitted.width * scale), round(fitted.height * scale)), filter)
    cell = Image.new("RGB", size, _PAPER)
    cell.paste(fitted, ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2))
    return cell


def _labels(axis: Axis | None, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    return [_wrapped(label(axis, number), font, width) for number in range(len(axis.values))] if axis else [""]


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """`text` in lines no wider than `width` pixels, but for words that are."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return "\n".join(lines)


def _size(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> tuple[int, int]:
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text or " ", font=font)
    return int(box[2] + 0.5), int(box[3] + 0.5)
