"""One walk through the five pages in a real browser, on the starter: pytest tests/test_browser.py"""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from sdstudio import jobs
from sdstudio.datasets import open_dataset
from sdstudio.results import read_evaluation
from sdstudio.workspace import Workspace

JOB_SECONDS = 240
DATASET = "asim-new-pictures"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "studio")


def open_page(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def finish(page: Page) -> None:
    """Wait until the job whose card is shown has succeeded."""
    card = page.locator("[class*=st-key-job-card]")
    expect(card.get_by_text("succeeded")).to_be_visible(timeout=JOB_SECONDS * 1000)


def fill(field: Locator, text: str) -> None:
    field.fill(text)
    field.press("Tab")


def test_from_pictures_to_a_table(page: Page, address: str, workspace: Workspace) -> None:
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_have_text("Teach a model something new")
    expect(page.get_by_text("298 of 310 pictures captioned, 0 by you")).to_be_visible(timeout=JOB_SECONDS * 1000)

    drafts_and_an_edit(page, workspace)
    a_short_training(page, workspace)
    a_picture(page, workspace)
    a_table(page, workspace)

    page.get_by_role("link", name="Home", exact=True).click()
    expect(page.get_by_text("310 of 310 pictures captioned, 1 by you")).to_be_visible()
    expect(page.locator("[class*=st-key-step-]").filter(has_text="Done")).to_have_count(4)


def drafts_and_an_edit(page: Page, workspace: Workspace) -> None:
    open_page(page, "Annotate")
    expect(page.get_by_text("no caption")).to_have_count(12)
    page.get_by_role("button", name="Draft captions").click()
    page.get_by_role("button", name="Start drafting").click()
    finish(page)
    expect(page.get_by_text("no caption")).to_have_count(0)
    store = open_dataset(workspace, DATASET)
    first, second = store.images()[:2]
    assert first.caption and first.caption == first.machine_caption

    page.locator("button.cell").first.click()
    box = page.get_by_role("textbox", name="Caption", exact=True)
    expect(box).to_have_value(first.caption)
    box.fill("asim, a person I described myself")
    box.press("Control+Enter")
    expect(box).to_have_value(second.caption)
    expect(page.get_by_text("Modified: 1 / 12")).to_be_visible()
    assert store.image(first.id).caption == "asim, a person I described myself"
    assert store.image(second.id) == second

    box.fill("asim, left in a hurry")
    open_page(page, "Train")
    assert store.image(second.id).caption == "asim, left in a hurry"
    store.undo(second.id)


def a_short_training(page: Page, workspace: Workspace) -> None:
    open_page(page, "Train")
    fill(page.get_by_role("spinbutton", name="Steps", exact=True), "3")
    fill(page.get_by_role("spinbutton", name="Batch size", exact=True), "2")
    page.get_by_role("button", name="Start training").click()
    finish(page)
    expect(page.get_by_text("Step 3", exact=True).first).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    [run] = jobs.list_jobs(workspace, "train")
    assert [row["step"] for row in jobs.read_metrics(run) if "loss" in row] == [1, 2, 3]


def a_picture(page: Page, workspace: Workspace) -> None:
    page.get_by_role("link", name="Make pictures with it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Generate")
    fill(page.get_by_role("textbox", name="Prompts", exact=True), "asim, a smiling woman on a beach at night")
    fill(page.get_by_role("spinbutton", name="Steps", exact=True), "4")
    page.get_by_role("button", name="Generate", exact=True).click()
    pictures = page.locator(".compare img")
    expect(pictures).to_have_count(2, timeout=JOB_SECONDS * 1000)
    pictures.last.scroll_into_view_if_needed()
    widths = "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))"
    assert pictures.evaluate_all(widths) == [64, 64]
    pictures.last.click()
    expect(page.get_by_role("button", name="Download PNG")).to_be_visible()
    page.keyboard.press("Escape")
    assert len(list(workspace.images.rglob("*.png"))) == 2


def a_table(page: Page, workspace: Workspace) -> None:
    open_page(page, "Evaluate")
    fill(page.get_by_role("textbox", name="Prompts", exact=True), "{trigger}, a sad man\n{trigger}, a red car\na cat")
    fill(page.get_by_role("textbox", name="Prompts without the trigger", exact=True), "a dog\na green bus")
    fill(page.get_by_role("spinbutton", name="Pictures per prompt", exact=True), "1")
    expect(page.get_by_text("This draws 5 pictures from each")).to_be_visible()
    page.get_by_role("button", name="Compare").click()
    finish(page)
    table = page.get_by_test_id("stTable")
    expect(table).to_be_visible()
    [comparison] = jobs.list_jobs(workspace, "evaluate")
    evaluation = read_evaluation(comparison.folder)
    assert [row.role for row in evaluation.rows] == ["base", "trained"]
    for label in (*(row.label for row in evaluation.rows), "Floor: real against real"):
        expect(table.get_by_role("cell", name=label, exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Report with pictures").click()
    assert download.value.path().read_text(encoding="utf-8").startswith("<!doctype html")
