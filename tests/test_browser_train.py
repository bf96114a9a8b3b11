"""The Train page in a real browser: pytest tests/test_browser_train.py

A recipe, a wrong value, a sweep that is previewed, and an export that is downloaded; the model is never run.
"""

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tiny_models import make_dataset
from tiny_runs import finished_run

from sdstudio.workspace import Workspace

RUN = "20260101-000000-first-try-aaaa"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path / "studio")
    make_dataset(found, "cats")
    finished_run(found, RUN, "first try", "a <i>cat</i> on a mat")
    return found


@pytest.mark.slow
def test_a_form_is_filled_a_sweep_counted_an_export_downloaded(page: Page, address: str, workspace: Workspace) -> None:
    page.goto(f"{address}/train?run={RUN}")
    expect(page.get_by_role("heading", name="Loss", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(4)
    expect(page.get_by_text("a <i>cat</i> on a mat", exact=True)).to_be_visible()
    an_export(page)
    page.get_by_role("button", name="Train on from it").click()
    a_form(page)


def an_export(page: Page) -> None:
    page.get_by_role("button", name="Export", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("LoRA and layers", exact=True).click()
    dialog.get_by_role("button", name="Export", exact=True).click()
    link = page.get_by_role("link", name="Download")
    expect(link).to_be_visible(timeout=120_000)
    with page.expect_download() as download:
        link.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert json.loads(archive.read("first-try-step-10/checkpoint.json"))["step"] == 10


def a_form(page: Page) -> None:
    expect(page.get_by_text("2 pictures lose more than 25%")).to_be_visible()
    steps = page.get_by_role("spinbutton", name="Steps", exact=True)
    expect(steps).to_have_value("20")
    expect(page.get_by_role("spinbutton", name="Learning rate", exact=True)).to_have_attribute(
        "placeholder", "the model's own"
    )
    resolution = page.get_by_role("spinbutton", name="Resolution (px)", exact=True)
    resolution.fill("65")
    resolution.press("Tab")
    expect(page.get_by_text("It must be a multiple of 8.")).to_be_visible()
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()
    resolution.fill("64")
    resolution.press("Tab")
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    page.get_by_text("Sweep: one run for each combination").click()
    page.get_by_role("combobox", name="Settings to vary").fill("Rank")
    page.get_by_role("option", name="Rank", exact=True).click()
    page.keyboard.press("Escape")
    values = page.get_by_role("textbox", name="Rank", exact=True)
    values.fill("1, 2, 4")
    values.press("Tab")
    expect(page.get_by_text("3 = 3 runs")).to_be_visible()
    expect(page.get_by_role("button", name="Start 3 runs")).to_be_visible()
