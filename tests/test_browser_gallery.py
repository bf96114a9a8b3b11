"""Gallery, painted mask and dropped picture in a real browser.   pytest tests/test_browser_gallery.py -m slow"""

import io
from pathlib import Path

import numpy
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from sdstudio.pictures import png_text
from sdstudio.pictures.image_folder import write_image
from sdstudio.schema import GeneratedImage, ModelRef, SampleSettings
from sdstudio.workspace import Workspace

pytestmark = pytest.mark.slow
COUNT = 130


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "studio")
    for seed in range(COUNT):
        image = GeneratedImage(
            file=f"a-{seed}.png",
            prompt=f"a toy, number {seed}",
            negative_prompt="",
            seed=seed,
            model=ModelRef(label="base"),
            checkpoint_hash="",
            settings=SampleSettings(steps=9, seed=seed),
            width=64,
            height=64,
        )
        picture = Image.new("RGB", (64, 64), (seed, 90, 90))
        write_image(workspace.images / "20260101-a", image, picture, png_text.write(image, "DDIMScheduler", "", "base"))
    return workspace


def test_more_pictures_come_as_one_scrolls_and_several_are_deleted(page: Page, address: str) -> None:
    page.goto(f"{address}/generate?view=Gallery")
    cells = page.locator(".cell")
    for shown in (60, 120, COUNT):
        expect(cells).to_have_count(shown)
        cells.last.scroll_into_view_if_needed()
    boxes = page.locator(".place input")
    boxes.nth(0).check(force=True)
    boxes.nth(2).click(force=True, modifiers=["Shift"])
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text(f"{COUNT - 3} pictures")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text(f"{COUNT} pictures")).to_be_visible()
    page.get_by_label("Prompt contains").fill("number 12")
    page.keyboard.press("Enter")
    expect(cells).to_have_count(12)
    cells.first.click()
    expect(page.get_by_role("dialog").get_by_text("a toy, number 129")).to_be_visible()


def test_a_mask_is_painted_and_undone_and_a_dropped_picture_fills_the_form(
    page: Page, address: str, workspace: Workspace, tmp_path: Path
) -> None:
    page.goto(f"{address}/generate?view=Ask")
    expect(page.get_by_role("button", name="Generate", exact=True)).to_be_visible()
    page.get_by_text("Settings from a picture").click()
    page.locator("input[type=file]").first.set_input_files(workspace.images / "20260101-a/a-77.png")
    expect(page.get_by_text("The form holds its settings")).to_be_visible()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("77")
    expect(page.get_by_label("Steps", exact=True)).to_have_value("9")

    (tmp_path / "start.png").write_bytes(io_png(Image.new("RGB", (64, 48), "blue")))
    page.get_by_text("Begin from a picture").click()
    page.locator("input[type=file]").last.set_input_files(tmp_path / "start.png")
    page.get_by_text("What I paint").click()
    canvas = page.locator("canvas")
    expect(canvas).to_have_attribute("width", "64")
    for height in (0.25, 0.75):
        paint(page, canvas, height)
    both = newest_mask(workspace)
    assert both.shape == (48, 64) and both[12, 10] == both[36, 10] == 255 and both[24, 10] == both[12, 60] == 0
    page.get_by_role("button", name="Undo").click()
    paint(page, canvas, 0.5)
    other = newest_mask(workspace)
    assert other[12, 10] == other[24, 10] == 255 and other[36, 10] == 0


def paint(page: Page, canvas: Locator, height: float) -> None:
    """A stroke over the left half of the canvas, and the time that its mask takes to be kept."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] * height)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * height, steps=5)
    page.mouse.up()
    page.wait_for_timeout(2500)


def newest_mask(workspace: Workspace) -> numpy.ndarray:
    file = max((workspace.root / "starts").glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    return numpy.asarray(Image.open(file).convert("L"))


def io_png(picture: Image.Image) -> bytes:
    memory = io.BytesIO()
    picture.save(memory, "PNG")
    return memory.getvalue()
