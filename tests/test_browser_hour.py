"""A newcomer's hour in a real browser, from the first page to the report, on the starter; and the docs' pictures of it.

pytest tests/test_browser_hour.py -m slow                       # walks
pytest tests/test_browser_hour.py -m slow --shots docs/images   # and takes the pictures: `make screenshots`
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import Studio
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator, Page, Response, expect
from screenshots import Screenshots

from sdstudio import jobs
from sdstudio.datasets import open_dataset
from sdstudio.pictures.image_folder import read_images
from sdstudio.results import read_evaluation
from sdstudio.schema import Job
from sdstudio.starter.captions import detailed_caption
from sdstudio.starter.examples import EXAMPLES, STYLE, draw
from sdstudio.workspace import Workspace

HOUR = 3600
LONG = 1_500_000
"""Milliseconds for a job on a busy machine; an idle one takes a minute or two."""
PATIENT = 300_000
NEW, TRAINED_ON = "asim-new-pictures", "asim-style"
BY_HAND = 5
STEPS = {"LoRA": 240, "SAM": 12}
PROMPT = "asim, a happy woman with red hair on a beach at night"
NEGATIVE = "photo, gray"
PROMPTS = [
    "{trigger}, a happy woman with red hair on a beach at night",
    "{trigger}, a sad man with black hair in a city during the day",
    "{trigger}, a white dog in a forest at sunset",
    "{trigger}, a red car in the mountains during the day",
]
WITHOUT = ["a happy cat in a room", "a green car in a city at night"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "studio")


@pytest.fixture
def shots(page: Page, request: pytest.FixtureRequest, tmp_path: Path) -> Screenshots:
    return Screenshots(page, Path(request.config.getoption("--shots") or tmp_path / "shots"))


@pytest.fixture
def spotless(page: Page, studio: Studio) -> Iterator[None]:
    """Nothing went wrong that a person may not have seen: in the console, over the network, or in the server."""
    problems: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(f"console: {message.text}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            problems.append(f"{response.status}: {response.url}")

    page.on("console", heard)
    page.on("response", answered)
    yield
    assert problems == []
    assert "Traceback" not in studio.log.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(2 * HOUR)
@pytest.mark.usefixtures("spotless")
def test_a_newcomers_hour(page: Page, address: str, workspace: Workspace, shots: Screenshots) -> None:
    page.set_default_timeout(PATIENT)
    expect.set_options(timeout=PATIENT)
    page.goto(address)
    the_four_steps(page, shots)
    five_captions_by_keyboard(page, workspace)
    drafts_for_the_rest(page, workspace, shots)
    a_check_and_a_snapshot(page, workspace)
    lora, sam = two_trainings(page, workspace, shots)
    stop_and_resume(page, workspace, lora)
    watch_to_the_end(page, workspace, shots, lora, sam)
    side_by_side(page, workspace, shots)
    a_grid(page, workspace, shots)
    a_comparison(page, workspace, shots)
    the_scoreboard(page, shots)

    open_page(page, "Home")
    expect(steps(page).filter(has_text="Done")).to_have_count(4)
    look(page)
    shots.take("home")


# ---------------------------------------------------------------- what every step does


def look(page: Page) -> None:
    """What is on the screen is no error."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    expect(page.get_by_text("Traceback")).to_have_count(0)


def open_page(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()
    heading = "Teach a model something new" if name == "Home" else name
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)


def fill(page: Page, role: str, name: str, text: str) -> None:
    field = page.get_by_role(role, name=name, exact=True)
    field.fill(text)
    field.press("Tab")
    expect(field).to_have_value(text)


def choose(page: Page, label: str, option: str | re.Pattern[str]) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).first.click()


def menu(page: Page, choice: str) -> None:
    page.get_by_role("button", name="More", exact=True).click()
    page.get_by_text(choice).click()


def close_dialog(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def card(page: Page) -> Locator:
    return page.locator("[class*=st-key-job-card]")


def panel(page: Page, tab: str) -> Locator:
    return page.get_by_role("tabpanel", name=tab)


def steps(page: Page) -> Locator:
    return page.locator("[class*=st-key-step-]")


def succeeded(page: Page) -> None:
    expect(card(page).get_by_text("succeeded")).to_be_visible(timeout=LONG)
    look(page)


# ---------------------------------------------------------------- the hour


def the_four_steps(page: Page, shots: Screenshots) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Teach a model something new")
    for number, name in enumerate(("Annotate", "Train", "Generate", "Evaluate"), start=1):
        step = steps(page).nth(number - 1)
        expect(step).to_contain_text(f"{number}. {name}")
        expect(step.get_by_role("link", name=f"Open {name}")).to_be_visible()
    expect(page.get_by_text("298 of 310 pictures captioned, 0 by you")).to_be_visible(timeout=LONG)
    expect(steps(page).first.get_by_text("Next")).to_be_visible()
    expect(page.locator(".cell img").first).to_be_visible()
    look(page)
    shots.take("home-start")


def five_captions_by_keyboard(page: Page, workspace: Workspace) -> None:
    steps(page).first.get_by_role("link", name="Open Annotate").click()
    expect(page.get_by_text("let BLIP draft them")).to_be_visible()
    expect(page.get_by_text("no caption")).to_have_count(12)
    [example] = [example for example in EXAMPLES if example.name == NEW]
    written = [detailed_caption(scene, STYLE) for _, _, scene in draw(example)][:BY_HAND]
    page.locator("button.cell").first.press("Enter")
    box = page.get_by_role("textbox", name="Caption", exact=True)
    for number, caption in enumerate(written, start=1):
        expect(page.get_by_label("Picture number")).to_have_value(str(number))
        box.press("Control+A")
        page.keyboard.type(caption)
        page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    expect(page.get_by_text(f"Modified: {BY_HAND} / 12")).to_be_visible()
    look(page)
    assert [image.caption for image in open_dataset(workspace, NEW).images()[: BY_HAND + 1]] == [*written, ""]


def drafts_for_the_rest(page: Page, workspace: Workspace, shots: Screenshots) -> None:
    store = open_dataset(workspace, NEW)
    written = [image.caption for image in store.images()[:BY_HAND]]
    page.get_by_role("button", name="Draft captions").click()
    expect(page.get_by_text("Only pictures without a caption")).to_be_visible()
    page.get_by_role("button", name="Start drafting").click()
    succeeded(page)
    expect(page.get_by_text("7 captions drafted, 0 kept beside a person's.")).to_be_visible()
    expect(page.get_by_text("no caption")).to_have_count(0)
    page.get_by_role("button", name="Close", exact=True).click()
    expect(card(page)).to_have_count(0)
    assert [image.caption for image in store.images()[:BY_HAND]] == written
    page.get_by_label("Select this picture").nth(1).check()
    page.get_by_label("Select this picture").nth(3).click(modifiers=["Shift"])
    expect(page.get_by_text("3 selected")).to_be_visible()
    look(page)
    shots.take("annotate-grid")
    page.get_by_role("button", name="Clear", exact=True).click()

    drafted = store.images()[BY_HAND]
    page.locator("button.cell").nth(BY_HAND).press("Enter")
    box = page.get_by_role("textbox", name="Caption", exact=True)
    expect(box).to_have_value(drafted.caption)
    box.press("Control+A")
    page.keyboard.type(f"asim, {drafted.caption}, thick black outlines")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    expect(page.locator(".draft ins").first).to_be_visible()
    look(page)
    shots.take("annotate-edit")
    page.get_by_role("button", name="All pictures").click()
    expect(page.locator("button.cell")).to_have_count(12)


def a_check_and_a_snapshot(page: Page, workspace: Workspace) -> None:
    page.get_by_role("button", name="Check", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("6 pictures with a caption that lacks the identifier “asim”.")).to_be_visible()
    look(page)
    close_dialog(page)
    menu(page, "Snapshots…")
    dialog.get_by_role("button", name="Take a snapshot now").click()
    expect(dialog.get_by_text("12 pictures frozen as")).to_be_visible()
    look(page)
    close_dialog(page)
    assert len(open_dataset(workspace, NEW).snapshots()) == 1


def two_trainings(page: Page, workspace: Workspace, shots: Screenshots) -> tuple[Job, Job]:
    open_page(page, "Train")
    choose(page, "Dataset", TRAINED_ON)
    expect(page.get_by_text("30 pictures, 30 captioned")).to_be_visible()
    start_training(page, shots, "Starter: a style in minutes", "LoRA")
    [lora] = jobs.list_jobs(workspace, "train")
    expect(card(page).get_by_text("lora asim-style")).to_be_visible()
    page.get_by_role("button", name="New run").click()
    expect(card(page)).to_have_count(0)
    start_training(page, shots, "Starter: SAM in minutes", "SAM")
    [sam] = [job for job in jobs.list_jobs(workspace, "train") if job.id != lora.id]
    open_page(page, "Jobs")
    expect(page.locator(f".st-key-job-card-{lora.id}").get_by_text("running")).to_be_visible(timeout=LONG)
    expect(page.locator(f".st-key-job-line-{sam.id}")).to_be_visible()
    look(page)
    shots.take("jobs")
    return lora, sam


def start_training(page: Page, shots: Screenshots, recipe: str, method: str) -> None:
    choose(page, "Recipe", recipe)
    expect(page.get_by_text(f"{method} on the bundled model")).to_be_visible()
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_role("radio", name=method, exact=True)).to_be_checked()
    fill(page, "spinbutton", "Steps", str(STEPS[method]))
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled()
    look(page)
    if method == "SAM":
        shots.take("train-form", until=start)
    start.click()
    expect(card(page)).to_be_visible()


def stop_and_resume(page: Page, workspace: Workspace, run: Job) -> None:
    page.locator(f".st-key-job-card-{run.id}").get_by_role("link", name="Open the run").click()
    expect(card(page)).to_contain_text(re.compile(rf"[1-9]\d* of {STEPS['LoRA']} steps"), timeout=LONG)
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible(timeout=LONG)
    card(page).get_by_role("button", name="Stop", exact=True).click()
    expect(card(page).get_by_text("cancelled")).to_be_visible(timeout=LONG)
    look(page)
    assert 0 < jobs.get_job(workspace, run.id).done < STEPS["LoRA"]
    card(page).get_by_role("button", name="Resume").click()
    expect(card(page).get_by_role("button", name="Stop", exact=True)).to_be_visible()


def watch_to_the_end(page: Page, workspace: Workspace, shots: Screenshots, lora: Job, sam: Job) -> None:
    succeeded(page)
    expect(page.get_by_role("heading", name="Checkpoints")).to_be_visible()
    expect(page.get_by_text("Its trigger is asim.")).to_be_visible()
    shots.take("train-run", until=page.locator(".samples .strip").nth(1))
    open_page(page, "Jobs")
    ended = page.locator(f".st-key-job-row-{sam.id}")
    expect(ended.get_by_text("succeeded")).to_be_visible(timeout=LONG)
    for run, method in ((lora, "LoRA"), (sam, "SAM")):
        assert [row["step"] for row in jobs.read_metrics(run) if "loss" in row] == list(range(1, STEPS[method] + 1))
    open_page(page, "Train")
    page.get_by_role("button", name="Compare runs").click()
    choose(page, "Runs", re.compile("^lora asim-style"))
    page.keyboard.press("Escape")
    for method in STEPS:
        expect(page.get_by_test_id("stTable").get_by_role("cell", name=method, exact=True)).to_be_visible()
    look(page)
    shots.take("train-compare")


def side_by_side(page: Page, workspace: Workspace, shots: Screenshots) -> None:
    open_page(page, "Generate")
    choose(page, "Models", re.compile("^lora asim-style"))
    page.keyboard.press("Escape")
    fill(page, "textbox", "Prompts", PROMPT)
    fill(page, "textbox", "Negative prompt", NEGATIVE)
    fill(page, "spinbutton", "Count", "2")
    expect(page.get_by_text("6 pictures", exact=True)).to_be_visible()
    page.get_by_role("button", name="Generate", exact=True).click()
    pictures = page.locator(".compare img")
    expect(pictures).to_have_count(6, timeout=LONG)
    expect(page.get_by_text("6 of 6 pictures")).to_be_visible(timeout=LONG)
    look(page)
    [folder] = [path.parent for path in workspace.images.glob("*/images.jsonl")]
    drawn = read_images(folder)
    assert {image.seed for image in drawn} == {0, 1} and len({image.model.label for image in drawn}) == 3
    assert {image.negative_prompt for image in drawn} == {NEGATIVE}
    shots.take("generate-compare")


def a_grid(page: Page, workspace: Workspace, shots: Screenshots) -> None:
    page.get_by_role("tab", name="Grid").click()
    choose(page, "Model", re.compile("^lora asim-style"))
    fill(page, "textbox", "Prompt", PROMPT)
    expect(page.get_by_text("3 × 2 = 6 pictures")).to_be_visible()
    page.get_by_role("button", name="Draw the grid").click()
    succeeded(page)
    expect(page.locator(".compare img")).to_have_count(6)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as one picture").click()
    with Image.open(download.value.path()) as sheet:
        assert sheet.width > 3 * 64 and sheet.height > 2 * 64
    look(page)
    shots.take("generate-grid")
    page.get_by_role("tab", name="Gallery").click()
    expect(page.locator("button.cell").nth(11)).to_be_visible()
    look(page)
    shots.take("generate-gallery")


def a_comparison(page: Page, workspace: Workspace, shots: Screenshots) -> None:
    open_page(page, "Evaluate")
    choose(page, "Models to compare with their base model", re.compile("^lora asim-style"))
    page.keyboard.press("Escape")
    fill(page, "textbox", "Prompts", "\n".join(PROMPTS))
    fill(page, "textbox", "Prompts without the trigger", "\n".join(WITHOUT))
    fill(page, "spinbutton", "Pictures per prompt", "2")
    each = 2 * len(PROMPTS + WITHOUT)
    expect(page.get_by_text(f"This draws {each} pictures from each")).to_be_visible()
    compare = page.get_by_role("button", name="Compare", exact=True)
    look(page)
    shots.take("evaluate-compare", until=compare)
    compare.click()
    succeeded(page)
    [comparison] = jobs.list_jobs(workspace, "evaluate")
    labels = [row.label for row in read_evaluation(comparison.folder).rows]
    table = page.get_by_test_id("stTable")
    for label in (*labels, "Floor: real against real"):
        expect(table.get_by_role("cell", name=label, exact=True)).to_be_visible()
    report(page, "Report with pictures", labels)
    shots.take("evaluate")


def the_scoreboard(page: Page, shots: Screenshots) -> None:
    page.get_by_role("tab", name="Scoreboard").click()
    expect(panel(page, "Scoreboard").get_by_test_id("stDataFrame")).to_be_visible()
    report(page, "Report with pictures and methods", ["lora asim-style", "sam asim-style"])
    shots.take("evaluate-scoreboard")
    page.get_by_role("tab", name="Curves").click()
    expect(panel(page, "Curves").get_by_test_id("stVegaLiteChart").first).to_be_visible()
    look(page)
    shots.take("evaluate-curves")


def report(page: Page, button: str, holds: Sequence[str]) -> None:
    look(page)
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    text = download.value.path().read_text(encoding="utf-8")
    assert text.startswith("<!doctype html") and "data:image/png;base64," in text
    assert all(word in text for word in holds)
