"""The sheet of pictures on a study's page: a row for each model, real pictures above them."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from sdstudio.results import Row

SIDE, MARGIN, COLUMNS = 96, 190, 6


def prompts_shown(rows: Sequence[tuple[str, Row]]) -> list[str]:
    """The prompts of the sheet's columns, from left to right."""
    return list(dict.fromkeys(one.prompt for one in rows[0][1].pictures if not one.drift))[:COLUMNS]


def section(file: str, title: str, rows: Sequence[tuple[str, Row]]) -> str:
    """The part of the page that shows the sheet `file`, with the prompts of its columns."""
    asked = "\n".join(f"{number}. `{prompt}`" for number, prompt in enumerate(prompts_shown(rows), start=1))
    return (
        "## Pictures\n\nReal pictures of the reference above, for what is to be learned; below them the same prompts "
        f"and seed in each row, of the first seed of the training.\n\n![{title}]({file})\n\nThe columns ask:\n\n{asked}"
    )


def sheet(folder: Path, rows: Sequence[tuple[str, Row]], real: Sequence[Path]) -> bytes:
    """A JPEG: `real` pictures, then for each model (label, row) the first seed of the first prompts in `folder`."""
    prompts = prompts_shown(rows)
    lines = [("Real pictures", list(real[: len(prompts)]))]
    for label, row in rows:
        first = {one.prompt: one for one in reversed(row.pictures)}
        lines.append((label, [folder / first[prompt].file for prompt in prompts]))
    image = Image.new("RGB", (MARGIN + SIDE * len(prompts), SIDE * len(lines)), "white")
    pen = ImageDraw.Draw(image)
    for y, (label, files) in enumerate(lines):
        pen.multiline_text((8, y * SIDE + SIDE // 2 - 10), _wrapped(label), fill="black", font_size=13)
        for x, file in enumerate(files):
            with Image.open(file) as opened:
                image.paste(opened.convert("RGB").resize((SIDE, SIDE)), (MARGIN + x * SIDE, y * SIDE))
    memory = io.BytesIO()
    image.save(memory, "JPEG", quality=85)
    return memory.getvalue()


def _wrapped(label: str, width: int = 26) -> str:
    return "\n".join(textwrap.wrap(label, width))
