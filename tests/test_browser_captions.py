"""Odd captions in a real browser: pytest -m slow tests/test_browser_captions.py"""

import io
from pathlib import Path

import pytest
from markup import HOSTILE, MARK, is_text
from PIL import Image
from playwright.sync_api import Page, expect

from sdstudio.datasets import DatasetStore, create_dataset
from sdstudio.datasets.bulk import FindReplace
from sdstudio.datasets.query import Query
from sdstudio.workspace import Workspace

FOREIGN = "asim, صورة امرأة سعيدة 👩‍🎤🏳️‍🌈 笑顔の女性 e\u0301 \u202eabc\u202c"
MENU = (("Words…", "In how many of"), ("Snapshots…", "1 caption changed"), ("Settings…", "Identifier"))
TEST_SECONDS = 1800


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "studio")


def dataset_of(workspace: Workspace, captions: list[str]) -> DatasetStore:
    store = create_dataset(workspace, "odd")
    for index, caption in enumerate(captions):
        memory = io.BytesIO()
        Image.effect_noise((64, 64), 20 + index).convert("RGB").save(memory, "PNG")
        store.add(memory.getvalue(), f"{index:02}.png", caption)
    return store


@pytest.mark.slow
@pytest.mark.timeout(TEST_SECONDS)
@pytest.mark.parametrize("caption", HOSTILE)
def test_markup_in_a_caption_is_text_in_every_view(
    page: Page, address: str, workspace: Workspace, caption: str
) -> None:
    store = dataset_of(workspace, [caption, caption, "plain"])
    store.snapshot()
    store.bulk(Query(), FindReplace(find="plain", replacement=caption))
    store.snapshot()
    id = store.images()[0].id
    store.approve(id, store.image(id).version)
    store.set_machine_caption(id, f"{caption} drafted", "captioner:blip")
    plain = caption.replace("[", "").replace("]", "")
    store.change_settings({"identifier": f"<b class={MARK}>", "template": plain})

    page.goto(f"{address}/annotate?dataset=odd")
    expect(page.locator("button.cell").first).to_contain_text(caption.split()[0])
    is_text(page)
    page.get_by_role("button", name="Change…").click()
    page.get_by_role("dialog").get_by_label("Find", exact=True).fill("a")
    expect(page.get_by_role("dialog").get_by_text("will change")).to_be_visible()
    is_text(page)
    for choice, seen in MENU:
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("button", name="More", exact=True).click()
        page.get_by_text(choice).click()
        expect(page.get_by_role("dialog").get_by_text(seen).first).to_be_visible()
        is_text(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.get_by_role("dialog").get_by_text("lacks the identifier")).to_be_visible()
    is_text(page)

    page.goto(f"{address}/annotate?dataset=odd&image={id}")
    expect(page.get_by_role("textbox", name="Caption", exact=True)).to_have_value(caption)
    page.get_by_text("History of this caption").click()
    expect(page.get_by_text("drafted").first).to_be_visible()
    is_text(page)


@pytest.mark.slow
def test_every_script_is_typed_shown_and_kept(page: Page, address: str, workspace: Workspace) -> None:
    store = dataset_of(workspace, ["plain", FOREIGN, "last"])
    first, second, _ = store.images()
    page.goto(f"{address}/annotate?dataset=odd&image={first.id}")
    box = page.get_by_role("textbox", name="Caption", exact=True)
    expect(box).to_have_value("plain")
    box.fill(FOREIGN)
    box.press("Control+Enter")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    expect(box).to_have_value(FOREIGN)
    assert store.image(first.id).caption == FOREIGN
    box.fill("صورة")
    assert box.evaluate("box => getComputedStyle(box).direction") == "rtl"
    box.press("Control+Enter")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    assert store.image(second.id).caption == "صورة"
