"""The caption editor in a real browser, as fast as it allows: pytest tests/test_browser_annotate.py"""

import io
import re
from pathlib import Path

import pytest
from conftest import PATIENCE_MS, Studio
from PIL import Image
from playwright.sync_api import Page, expect

from sdstudio.datasets import PERSON, DatasetStore, create_dataset
from sdstudio.datasets.bulk import Mark
from sdstudio.datasets.query import Query
from sdstudio.workspace import Workspace

FAST = 30
RECONNECT_MS = 180_000


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
    expect(page.get_by_role("dialog")).to_have_count(0)  # its preview shows the new captions before they are written
    expect(page.get_by_text("a cat, sleepy")).to_have_count(3)
    changed = [place for place, image in enumerate(store.images()) if image.caption == "a cat, sleepy"]
    assert changed == [1, 2, 3]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("a cat, sleepy")).to_have_count(0)
    assert {image.caption for image in store.images()} == {"a cat"}


def test_two_tabs_on_one_picture_end_in_a_choice(page: Page, address: str, store: DatasetStore) -> None:
    other = page.context.new_page()
    other.set_default_timeout(PATIENCE_MS)
    boxes = []
    for tab in (page, other):
        open_editor(tab, address, store)
        boxes.append(tab.get_by_role("textbox", name="Caption", exact=True))
    mine, theirs = boxes
    theirs.fill("from the other tab")
    theirs.press("Control+Enter")
    expect(other.get_by_text("Saved", exact=True)).to_be_visible()
    mine.fill("from this tab")
    mine.blur()
    expect(page.get_by_text("Somebody else changed this caption")).to_be_visible()
    expect(page.locator(".theirs")).to_have_text("from the other tab")
    expect(mine).to_have_value("from this tab")
    id = store.images()[0].id
    assert store.image(id).caption == "from the other tab"
    page.get_by_role("button", name="Take theirs").click()
    expect(mine).to_have_value("from the other tab")
    mine.fill("from both")
    mine.blur()
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    assert [entry.caption for entry in store.history(id)] == ["a cat", "from the other tab", "from both"]


def test_after_a_restart_an_edit_and_a_deletion_meet_the_picture_on_the_screen(
    page: Page, studio: Studio, store: DatasetStore
) -> None:
    first, _, edited, following = store.images()[:4]
    open_editor(page, studio.address, store, place=2)
    box = page.get_by_role("textbox", name="Caption", exact=True)
    box.press("Control+A")
    box.press_sequentially("written while the studio was away")
    studio.kill()
    store.bulk([first.id], Mark(what="delete"))  # from here on every place is one lower
    box.press("Control+Enter")
    expect(page.locator(".stage img")).to_have_attribute("src", re.compile(following.id))
    studio.start()
    expect(page.get_by_text("Saved", exact=True)).to_be_visible(timeout=RECONNECT_MS)
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text(f"{following.file_name} is deleted")).to_be_visible()
    gone = {image.id for image in store.captions(Query(deleted=True))}
    assert gone == {first.id, following.id}
    changed = {image.id: image.caption for image in store.images() if image.caption != "a cat"}
    assert changed == {edited.id: "written while the studio was away"}


@pytest.mark.slow
def test_after_a_restart_a_bulk_deletion_meets_exactly_the_ticked(
    page: Page, studio: Studio, store: DatasetStore
) -> None:
    page.goto(f"{studio.address}/annotate?dataset=cats")
    chosen = [store.images()[place].id for place in (1, 3)]
    for place in (1, 3):
        page.get_by_label("Select this picture").nth(place).check()
    expect(page.get_by_text("2 selected")).to_be_visible()
    studio.kill()
    store.bulk([store.images()[0].id], Mark(what="exclude"))
    studio.start()
    expect(page.get_by_text("kept out of training")).to_be_visible(timeout=RECONNECT_MS)
    ticked = page.locator("input[type=checkbox]:checked")
    expect(page.get_by_text("2 selected")).to_be_visible()
    expect(ticked).to_have_count(2)
    assert ticked.evaluate_all("boxes => boxes.map(box => box.dataset.id)") == chosen
    page.get_by_role("button", name="Change…").click()
    page.get_by_role("dialog").get_by_text("Delete", exact=True).click()
    page.get_by_role("button", name="Delete 2 pictures").click()
    expect(page.get_by_text("Done: 2 pictures")).to_be_visible()
    assert [image.id for image in store.captions(Query(deleted=True))] == chosen


@pytest.mark.slow
def test_a_key_held_down_never_locks_the_box(page: Page, address: str, store: DatasetStore) -> None:
    for index in range(120):
        memory = io.BytesIO()
        Image.new("RGB", (8, 8), (index, 2 * index, 10)).save(memory, "PNG")
        store.add(memory.getvalue(), f"more-{index:03}.png", "a cat")
    open_editor(page, address, store)
    box = page.get_by_role("textbox", name="Caption", exact=True)
    box.evaluate("""box => {
      window.locked = 0
      new MutationObserver(() => { window.locked += box.readOnly }).observe(box, { attributes: true })
    }""")
    for key, back in (("Alt+ArrowRight", 0), ("Alt+ArrowLeft", 1)):
        box.focus()
        for _ in range(140):
            page.keyboard.press(key)
            page.wait_for_timeout(33)  # as fast as a keyboard repeats
        expect(page.get_by_label("Picture number")).to_have_value(str(1 if back else 141))
    assert page.evaluate("window.locked") == 0
