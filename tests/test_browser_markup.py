"""Markup in names, prompts, captions and errors, on every page in a real browser.

pytest -m slow tests/test_browser_markup.py
"""

import io
from pathlib import Path

import pytest
from drawn_comparison import finished_comparison
from markup import HOSTILE, MARK, is_text
from PIL import Image
from playwright.sync_api import Page, expect
from tiny_runs import finished_run

from sdstudio import suites
from sdstudio.datasets import create_dataset
from sdstudio.pictures import png_text
from sdstudio.pictures.image_folder import write_image
from sdstudio.schema import CaptionConfig, GenerateConfig, GeneratedImage, ModelRef, SampleSettings, to_json
from sdstudio.workspace import Workspace, write_json

RUN, OTHER, BATCH, FAILED = "20260101-run", "20260102-run", "20260103-batch", "20260104-caption"
TABS = ("Ask", "Grid", "Suites", "Gallery")
LOOKS = ("Compare", "Scoreboard", "Curves", "Pictures", "Captions", "Rating+room", "Logo+and+text", "Shift")
VIEWS = (
    "/",
    "/annotate?dataset=toys",
    "/train",
    f"/train?run={RUN}",
    f"/train?compare={RUN},{OTHER}",
    "/train?run=new",
    *(f"/generate?view={tab}" for tab in TABS),
    *(f"/evaluate?view={tab}" for tab in LOOKS),
    "/jobs",
    *(f"/jobs?job={job}" for job in (RUN, BATCH, FAILED)),
)
SEEN = (
    "/annotate?dataset=toys",
    f"/train?run={RUN}",
    f"/train?compare={RUN},{OTHER}",
    "/evaluate?view=Pictures",
    "/jobs",
)
"""Views that have to show some of it, so that a page which shows nothing is none that passes."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A studio in which whoever may choose a word has chosen markup."""
    ws = Workspace(tmp_path / "studio")
    store = create_dataset(ws, "toys")
    for number, caption in enumerate(HOSTILE):
        memory = io.BytesIO()
        Image.effect_noise((64, 64), 20 + number).convert("RGB").save(memory, "PNG")
        store.add(memory.getvalue(), f"{number}.png", caption)
    for run, title, prompt in ((RUN, HOSTILE[0], HOSTILE[2]), (OTHER, HOSTILE[1], HOSTILE[4])):
        finished_run(ws, run, title, prompt)
    suites.add(ws, "odd.txt", "\n".join(text for text in HOSTILE if "{" not in text).encode())
    images = ws.images / BATCH
    for number, prompt in enumerate(HOSTILE):
        image = GeneratedImage(
            file=f"{number}.png", prompt=prompt, negative_prompt=HOSTILE[2], seed=number, width=64, height=64,
            model=ModelRef(label=HOSTILE[1]), checkpoint_hash="", settings=SampleSettings(seed=number),
            flags=[HOSTILE[0]],
        )  # fmt: skip
        write_image(
            images, image, Image.new("RGB", (64, 64), "navy"), png_text.write(image, "DDIMScheduler", "", "base")
        )
    tell(images, "generate", HOSTILE[4], to_json(GenerateConfig(prompts=list(HOSTILE))))
    tell(ws.tasks / FAILED, "caption", HOSTILE[1], to_json(CaptionConfig(dataset="toys")), HOSTILE[2])
    results = finished_comparison(ws, prompts=HOSTILE[:3], seeds=2) / "results.json"
    text = (
        results.read_text(encoding="utf-8")
        .replace("Model lora", f"**lora** <b class={MARK}>")
        .replace("Model base", "[base](https://evil.example) $x^2$")
    )
    results.write_text(text, encoding="utf-8")
    return ws


def tell(folder: Path, kind: str, title: str, config: object, error: str = "") -> None:
    """The folder of a job that has ended."""
    state = {"kind": kind, "title": title, "created": 1.0, "started": 1.0, "ended": 9.0, "error": error}
    write_json(folder / "state.json", {**state, "state": "failed" if error else "succeeded"})
    write_json(folder / "config.json", config)
    (folder / "log.txt").write_text(f"12:00:00  {error or title}\n", encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_markup_is_text_on_every_page(page: Page, address: str, workspace: Workspace) -> None:
    shown = set()
    for view in VIEWS:
        page.goto(f"{address}{view}")
        expect(page.get_by_role("heading").first).to_be_visible()
        expect(page.locator("[data-test-script-state=notRunning]").first).to_be_attached()
        is_text(page)
        assert page.locator("[data-testid=stException]").count() == 0, view
        if any(page.get_by_text(text[:24]).count() for text in HOSTILE):
            shown.add(view)
    assert set(SEEN) - shown == set()
