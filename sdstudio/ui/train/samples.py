"""Sample pictures of a run: a row for each prompt, a column for each step, the newest first."""

from html import escape
from pathlib import Path

import streamlit as st

from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import Job
from sdstudio.ui.files import job_png_url
from sdstudio.workspace import Workspace

STEPS_SHOWN = 24
TINY = 192
"""Pictures no larger than this many pixels are drawn pixel by pixel."""
STYLE = """
<style>
.samples { display: grid; gap: 0.9rem; }
.samples .prompt { font-size: 0.875rem; overflow-wrap: anywhere; margin-bottom: 0.3rem; }
.samples .strip { display: flex; gap: 0.5rem; overflow-x: auto; padding-bottom: 0.4rem; }
.samples figure { margin: 0; flex: 0 0 8.5rem; }
.samples img { display: block; width: 8.5rem; border-radius: 0.4rem; }
.samples img.tiny { image-rendering: pixelated; }
.samples figcaption { font-size: 0.75rem; opacity: 0.75; margin-top: 0.15rem; font-variant-numeric: tabular-nums; }
</style>
"""


def show_samples(workspace: Workspace, job: Job) -> None:
    folders = sorted(job.folder.glob("samples/step-*"), reverse=True)
    rows: dict[str, list[str]] = {}
    for folder in folders[:STEPS_SHOWN]:
        for image in read_images(folder):
            tiny = max(image.width, image.height) <= TINY
            cell = _cell(job_png_url(workspace, folder / image.file), _step(folder), image.prompt, tiny)
            rows.setdefault(image.prompt, []).append(cell)
    if not rows:
        return
    st.subheader("Samples")
    older = f" The newest {STEPS_SHOWN} of {len(folders)} are shown." if folders[STEPS_SHOWN:] else ""
    st.caption(f"The same prompts and seeds at each step, the newest first.{older}")
    lines = "".join(
        f'<div><div class="prompt">{escape(prompt)}</div><div class="strip">{"".join(cells)}</div></div>'
        for prompt, cells in rows.items()
    )
    st.html(f'{STYLE}<div class="samples">{lines}</div>')


def _cell(source: str, step: int, prompt: str, tiny: bool) -> str:
    look = ' class="tiny"' if tiny else ""
    name = f"{prompt}, after step {step}"
    return (
        f'<figure><a href="{escape(source)}" target="_blank"><img{look} src="{escape(source)}" alt="{escape(name)}" '
        f'loading="lazy"></a><figcaption>Step {step:,}</figcaption></figure>'
    )


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))
