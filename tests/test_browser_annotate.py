"""The caption editor in a real browser, as fast as it allows: pytest tests/test_browser_annotate.py"""

import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from sdstudio.datasets import PERSON, DatasetStore, create_dataset
from sdstudio.workspace import Workspace

FAST = 30


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "studio")


@pytest.fixture
def store(workspace: Workspace) -> DatasetStore:
    dataset = create_dataset(workspace, "cats")
    for index in range(FAST + 4):
        memory = io.BytesIO()
        Image.new("RGB", (64, 64), (7 * index, 90, 160)).save(memory, "PNG")
        dataset.add(memory.getvalue(), f"cat-{index:02}.png", "a cat")
    return dataset


def open_editor(page: Page, address: str, store: DatasetStore, place: int = 0) -> None:
    page.goto(f"{address}/annotate?dataset=cats&image={store.images()[place].id}")
    expect(page.get_by_role("textbox", name="Caption", exact=True)).to_have_value(store.images()[place].caption)


def test_fast_captions_land_on_their_own_pictures(page: Page, address: str, store: DatasetStore) -> None:
    ids = [image.id for image in store.images()]
    for turn in ("first", "second"):
        open_editor(page, address, store)
        page.get_by_role("textbox", name="Caption", exact=True).focus()
        seen = {}
        for _ in range(FAST):
            shown = page.locator(".stage img").get_attribute("src").rsplit("/", 1)[1]
            seen[shown] = f"{turn} {shown[:8]}"
            page.keyboard.press("Control+A")
            page.keyboard.type(seen[shown])
            page.keyboard.press("Control+Enter")
        expect(page.get_by_text("Saved", exact=True)).to_be_visible()
        assert list(seen) == ids[:FAST]
        stored = {image.id: image.caption for image in store.images()}
        assert {id: stored[id] for id in seen} == seen
        assert all(stored[id] == "a cat" for id in ids[FAST:])
        assert store.progress() == (FAST, len(ids))


def test_a_conflict_is_kept_until_it_is_resolved(page: Page, address: str, store: DatasetStore) -> None:
    first, second = store.images()[:2]
    open_editor(page, address, store)
    box = page.get_by_role("textbox", name="Caption", exact=True)
    store.set_caption(first.id, "from elsewhere", PERSON, first.version)
    box.fill("mine")
    box.press("Control+Enter")
    expect(page.get_by_text("One caption is not saved.")).to_be_visible()
    assert store.image(first.id).caption == "from elsewhere" and store.image(second.id) == second
    page.get_by_role("button", name="Go to it").click()
    expect(box).to_have_value("mine")
    expect(page.get_by_text("It now reads:")).to_be_visible()
    page.get_by_role("button", name="Keep mine").click()
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    assert store.image(first.id).caption == "mine"
    box.press("Control+z")
    expect(box).to_have_value("from elsewhere")
    box.press("Control+y")
    expect(box).to_have_value("mine")
    assert store.image(first.id).caption == "mine"


def test_a_change_meets_exactly_the_selected(page: Page, address: str, store: DatasetStore) -> None:
    page.goto(f"{address}/annotate?dataset=cats")
    boxes = page.get_by_label("Select this picture")
    boxes.nth(1).check()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.get_by_role("button", name="Change…").click()
    page.get_by_role("dialog").get_by_text("Append tag").click()
    page.get_by_label("Tag", exact=True).fill("sleepy")
    page.get_by_role("button", name="Change 3 pictures").click()
    expect(page.get_by_text("a cat, sleepy")).to_have_count(3)
    changed = [place for place, image in enumerate(store.images()) if image.caption == "a cat, sleepy"]
    assert changed == [1, 2, 3]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("a cat, sleepy")).to_have_count(0)
    assert {image.caption for image in store.images()} == {"a cat"}
