"""Pictures of the same prompts and seeds from several models, side by side, zoomed together."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from sdstudio.schema import GeneratedImage
from sdstudio.ui.component import component
from sdstudio.ui.files import job_png_url
from sdstudio.ui.pictures import model_label
from sdstudio.workspace import Workspace

CELL = 13
"""Least width of a picture in rem, where there is one model."""
_component = component("compare", html='<div class="compare"></div>')


def side_by_side(
    workspace: Workspace, folder: Path, images: Sequence[GeneratedImage], key: str, on_open: Callable[[str], None]
) -> None:
    """A row for each prompt and seed, a column for each model; one model's pictures follow one another.

    `on_open(file)` runs before the page's next run.
    """
    models = list(dict.fromkeys(_column(image) for image in images))
    prompts = list(dict.fromkeys(image.prompt for image in images))
    flow = len(models) == 1
    by_place = {(image.prompt, image.seed, _column(image)): image for image in images}

    rows: list[dict[str, Any]] = []
    for prompt in prompts:
        seeds = sorted({image.seed for image in images if image.prompt == prompt})
        title = (prompt or "no prompt") if len(prompts) > 1 else ""
        if flow:
            cells = [cell(workspace, folder, by_place[prompt, seed, models[0]], f"seed {seed}") for seed in seeds]
            rows.append({"label": title, "cells": cells})
            continue
        for place, seed in enumerate(seeds):
            cells = [cell(workspace, folder, by_place.get((prompt, seed, model)), f"seed {seed}") for model in models]
            rows.append({"label": title if place == 0 else "", "cells": cells})

    table(models, rows, key, on_open, flow)


def cell(workspace: Workspace, folder: Path, image: GeneratedImage | None, note: str) -> dict[str, Any] | None:
    """A picture of `folder` as a cell of `table`; None, for one that is not there, is an empty one."""
    if image is None:
        return None
    return {
        "id": image.file,
        "src": job_png_url(workspace, folder / image.file),
        "text": image.prompt,
        "note": ("⚠ " if image.flags else "") + note,
        "width": image.width,
        "height": image.height,
    }


def table(
    columns: Sequence[str],
    rows: Sequence[dict[str, Any]],
    key: str,
    on_open: Callable[[str], None],
    flow: bool = False,
) -> None:
    """Rows of a `label` and `cells` under the columns' names, zoomed together; with `flow` cells follow one another."""

    def opened() -> None:
        file = st.session_state[key].get("open")
        if file:
            on_open(file)

    data = {"columns": list(columns), "rows": list(rows), "flow": flow, "cell": CELL}
    _component(key=key, data=data, on_open_change=opened)


def _column(image: GeneratedImage) -> str:
    """The model's label, and the weights where one of its checkpoints does not count in full or is not alone."""
    ref = image.model
    parts = [model_label(image) + (f" × {ref.weight:g}" if ref.weight != 1 else "")]
    parts += [
        f"{extra.checkpoint.split('/')[1] if '/' in extra.checkpoint else extra.checkpoint} × {extra.weight:g}"
        for extra in ref.extras
    ]
    return " + ".join(parts)
