"""The Ask tab in a real browser: pictures that form, a reload, a second tab, a picture opened, zoomed and deleted.

pytest tests/test_browser_generate.py -m slow
"""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from sdstudio.pictures.image_folder import read_images
from sdstudio.workspace import Workspace

LONG = 500_000
"""A busy machine is no failure."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "studio")


def fill(page: Page, role: str, name: str, text: str) -> None:
    field = page.get_by_role(role, name=name, exact=True)
    field.fill(text)
    field.press("Tab")
    expect(field).to_have_value(text)


def scales(page: Page) -> list[str]:
    return page.locator(".compare img").evaluate_all("images => images.map(image => image.style.transform)")


@pytest.mark.slow
def test_ask_reload_cancel_open_and_delete(page: Page, address: str, workspace: Workspace) -> None:
    page.goto(f"{address}/generate")
    fill(page, "textbox", "Prompts", "a (red balloon")
    expect(page.get_by_text("is never closed")).to_be_visible()
    fill(page, "textbox", "Prompts", "a (red:1.2) balloon")
    expect(page.get_by_text("3 tokens of")).to_be_visible()
    fill(page, "spinbutton", "Count", "3")
    fill(page, "spinbutton", "Steps", "30")
    expect(page.get_by_text("3 pictures", exact=True)).to_be_visible()
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.locator(".studio-forming img").first).to_be_visible(timeout=LONG)

    page.reload()
    second = page.context.new_page()
    second.goto(f"{address}/generate")
    for tab in (page, second):
        expect(tab.locator(".compare img")).to_have_count(3, timeout=LONG)
        expect(tab.get_by_text("3 of 3 pictures")).to_be_visible()
    [folder] = [path.parent for path in workspace.images.glob("*/images.jsonl")]
    assert [image.seed for image in read_images(folder)] == [0, 1, 2]

    page.get_by_role("button", name="Zoom in").click()
    assert len(set(scales(page))) == 1 and "scale(1.5)" in scales(page)[0]

    page.locator("button.cell").first.click()
    page.get_by_role("button", name="Use these settings").click()
    expect(page.get_by_role("spinbutton", name="Steps", exact=True)).to_have_value("30")
    page.locator("button.cell").first.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".compare img")).to_have_count(2)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".compare img")).to_have_count(3)

    fill(page, "spinbutton", "Steps", "500")
    page.get_by_role("button", name="Generate", exact=True).click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Stopped").or_(page.get_by_text("Cancelled before it began")).first).to_be_visible(
        timeout=LONG
    )
