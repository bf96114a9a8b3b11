"""The tabs of Evaluate in a real browser, on comparisons made without a model.

pytest -m slow tests/test_browser_evaluate.py
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from boards_helpers import caption_pair, png
from conftest import PATIENCE_MS
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from sdstudio.datasets import create_dataset
from sdstudio.workspace import Workspace

pytestmark = pytest.mark.slow
ROW, MODEL_WIDTH = 35, 280
"""Pixels of the scoreboard: the height of a row, and the width of its first column."""
LOADED = "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth > 0)))"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    ws = Workspace(tmp_path / "studio")
    caption_pair(ws)
    reference = create_dataset(ws, "real")
    for shade in (40, 200):
        reference.add(png(shade), f"{shade}.png")
    return ws


@pytest.fixture
def patient(page: Page) -> None:
    """The table and the charts are large scripts, which a busy machine hands out slowly."""
    page.set_default_timeout(4 * PATIENCE_MS)
    expect.set_options(timeout=4 * PATIENCE_MS)


@pytest.fixture
def quiet_console(page: Page) -> Iterator[None]:
    errors: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    page.on("console", heard)
    yield
    assert errors == []


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("patient", "quiet_console")
def test_from_the_cost_of_a_comparison_to_what_captions_changed(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="Evaluate", exact=True).click()
    the_cost_stands_above_the_button(page)
    a_sorted_scoreboard_and_the_pictures_behind_a_number(page)
    everything_can_be_taken_out(page)
    curves(page)
    worst_and_copied(page)
    captions(page)


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()
    expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")


def the_cost_stands_above_the_button(page: Page) -> None:
    page.get_by_role("button", name="New comparison").click()
    page.get_by_role("combobox", name="Begin from").click()
    page.get_by_role("option", name="Faces").click()
    expect(page.locator(".st-key-estimate-evaluate")).to_contain_text("16 pictures to draw · 18 to look at")
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_enabled()


def a_sorted_scoreboard_and_the_pictures_behind_a_number(page: Page) -> None:
    open_tab(page, "Scoreboard")
    first = page.get_by_test_id("glide-cell-0-0")
    expect(first).to_have_text("Base")
    click_cell(page, row=-1)
    expect(first).to_have_text("Floor: real against real")
    expect(page.get_by_test_id("glide-cell-0-1")).to_have_text("long-captions")
    click_cell(page, row=1)
    cell = page.locator(".st-key-scoreboard-cell")
    expect(cell).to_contain_text("KID of long-captions")
    page.keyboard.press("ArrowRight")
    expect(cell).to_contain_text("CLIP score of long-captions")
    expect(cell.get_by_text("Worst", exact=True)).to_be_visible()
    are_loaded(cell.locator("img"), least=8)


def click_cell(page: Page, row: int) -> None:
    """Click the first measure's cell in `row` as it stands; −1 is the head, which sorts."""
    box = page.get_by_test_id("stDataFrame").first.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + MODEL_WIDTH + ROW, box["y"] + ROW * (row + 1.5))


def are_loaded(images: Locator, least: int) -> None:
    expect(images.nth(least - 1)).to_be_attached()
    assert all(images.evaluate_all(LOADED))


def everything_can_be_taken_out(page: Page) -> None:
    for label, content in {
        "CSV": "long-captions,kid,1.0",
        "LaTeX": r"\begin{table}",
        "Markdown": "**Methods.** Compared were 2 trained models",
        "Report with pictures and methods": "<!doctype html>",
    }.items():
        with page.expect_download() as download:
            page.get_by_role("button", name=label, exact=True).click()
        assert content in download.value.path().read_text(encoding="utf-8")
    page.get_by_text("Methods paragraph").click()
    expect(page.get_by_text("Compared were 2 trained models")).to_be_visible()


def curves(page: Page) -> None:
    open_tab(page, "Curves")
    expect(page.get_by_role("heading", name="Which checkpoint to keep")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").nth(3)).to_be_visible()


def worst_and_copied(page: Page) -> None:
    open_tab(page, "Pictures")
    page.get_by_text("Worst 12", exact=True).click()
    expect(page.get_by_text("The 8 worst, the worst first.")).to_be_visible()
    are_loaded(page.get_by_role("tabpanel", name="Pictures").locator("img"), least=8)
    page.get_by_text("Most copied 12", exact=True).click()
    expect(page.get_by_text("trained on", exact=True).first).to_be_visible()
    are_loaded(page.get_by_role("tabpanel", name="Pictures").locator("img"), least=16)


def captions(page: Page) -> None:
    open_tab(page, "Captions")
    expect(page.get_by_text("1 caption of faces changed between the two; nothing else differs.")).to_be_visible()
    expect(page.get_by_text("They helped CLIP score (paired tests over prompts, 5%, Holm).")).to_be_visible()
    expect(page.get_by_role("cell", name="+0.100 [0.100, 0.100]", exact=True)).to_be_visible()
