"""To the Hub and back through the page, in a real browser: pytest -m slow tests/test_browser_hub.py"""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from canary import Watch, assert_nowhere
from hub_server import HubServer
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from sdstudio.datasets import DatasetStore, create_dataset, open_dataset
from sdstudio.workspace import Workspace

TOKEN, WRONG = "hf_canary_page_51c0", "hf_canary_wrong_77d2"
JOB_SECONDS = 120_000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A Hub of this machine, which the studio and its jobs take for the Hub; nobody is logged in."""
    with HubServer() as server:
        server.add_user("ann", TOKEN)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HF_HUB_DISABLE_XET", raising=False)
        yield server


@pytest.fixture
def workspace(tmp_path: Path, hub: HubServer) -> Workspace:
    return Workspace(tmp_path / "studio")


@pytest.fixture
def store(workspace: Workspace) -> DatasetStore:
    dataset = create_dataset(workspace, "cats")
    for index, caption in enumerate(["a naïve cat, 猫 😺", "**not** [markdown](x)", ""]):
        memory = io.BytesIO()
        Image.effect_noise((64, 64), 20 + index).convert("RGB").save(memory, "PNG")
        dataset.add(memory.getvalue(), f"cat-{index}.png", caption)
    return dataset


@pytest.mark.slow
def test_a_set_is_pushed_and_comes_back_and_the_token_is_nowhere(
    page: Page, address: str, hub: HubServer, store: DatasetStore, workspace: Workspace, tmp_path: Path
) -> None:
    pages: list[str] = []
    with Watch() as watch:
        page.goto(f"{address}/annotate?dataset=cats")
        push(page, "ann/cats", WRONG)
        refused = page.get_by_role("alert").get_by_text("The Hub does not accept the token;")
        expect(refused).to_be_visible(timeout=JOB_SECONDS)
        pages.append(page.content())
        assert hub.repositories == {}

        push(page, "ann/cats", TOKEN)
        expect(page.get_by_role("link", name="ann/cats")).to_be_visible(timeout=JOB_SECONDS)
        pages.append(page.content())
        assert hub.repositories["ann/cats"].private
        assert "README.md" in hub.repositories["ann/cats"].files

        page.get_by_role("button", name="Add pictures").click()
        dialog = page.get_by_role("dialog")
        fill(dialog.get_by_role("textbox", name="Dataset", exact=True), "back")
        dialog.get_by_role("tab", name="From the Hub").click()
        fill(dialog.get_by_role("textbox", name="Name on the Hub", exact=True), "ann/cats")
        fill(dialog.get_by_role("textbox", name="Token", exact=True), TOKEN)
        dialog.get_by_role("button", name="Import").click()
        expect(page.get_by_text("3 pictures added")).to_be_visible(timeout=JOB_SECONDS)
        pages.append(page.content())
    captions = {image.id: image.caption for image in store.images()}
    assert {image.id: image.caption for image in open_dataset(workspace, "back").images()} == captions
    watch.assert_not_shown(TOKEN)
    for token in (TOKEN, WRONG):
        assert not [text for text in (*pages, *watch.shown, page.url) if token in text]
        assert_nowhere(token, tmp_path)


def push(page: Page, repository: str, token: str) -> None:
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_text("Push to the Hub…").click()
    dialog = page.get_by_role("dialog")
    fill(dialog.get_by_role("textbox", name="Repository", exact=True), repository)
    fill(dialog.get_by_role("textbox", name="Token", exact=True), token)
    expect(dialog.get_by_text(f"3 pictures with captions go to {repository}")).to_be_visible()
    dialog.get_by_role("button", name="Push", exact=True).click()
    expect(dialog).to_have_count(0)


def fill(field: Locator, text: str) -> None:
    field.press("Control+A")
    field.press_sequentially(text, delay=10)
    field.press("Tab")
