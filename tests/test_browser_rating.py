"""The rating room in a real browser, as fast as it allows: pytest -m slow tests/test_browser_rating.py"""

from pathlib import Path

import pytest
from conftest import PATIENCE_MS, Studio
from drawn_comparison import finished_comparison
from playwright.sync_api import Page, expect

from sdstudio.ratings import store
from sdstudio.ratings.deck import deal
from sdstudio.results import read_evaluation
from sdstudio.workspace import Workspace

pytestmark = pytest.mark.slow
FAST = 60
KEYS = {"1": "yes", "2": "no", "0": "absent"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "studio")


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    return finished_comparison(workspace, seeds=11)


def begin(page: Page, address: str, rater: str = "Ana", question: str = "Does a picture have a defect?") -> None:
    page.goto(f"{address}/evaluate?view=Rating+room")
    page.get_by_text(question).click()
    name = page.get_by_role("textbox", name="Your name")
    expect(name).to_have_count(1)  # the form is drawn anew for another question
    name.fill(rater)
    name.press("Tab")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator(".stage[data-ready=true]")).to_be_visible()


def shown(page: Page) -> str:
    """The task on the stage once its pictures are there."""
    return page.wait_for_function(
        "() => { for (const element of document.querySelectorAll('*')) {"
        " const stage = element.shadowRoot?.querySelector('.stage');"
        " if (stage?.dataset.ready === 'true') return stage.dataset.task } }",
        polling=5,
    ).json_value()


def saved(page: Page, count: int, total: int) -> None:
    expect(page.locator(".count")).to_have_text(f"{count} of {total}")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()


def answers(folder: Path) -> dict[str, str]:
    [session] = store.read(folder).sessions
    return {given.task: given.answer for given in session.answers}


def deck(folder: Path) -> list[str]:
    [session] = store.read(folder).sessions
    return [task.id for task in deal(read_evaluation(folder).rows, session)]


def test_sixty_presses_each_on_its_own_picture(page: Page, address: str, folder: Path) -> None:
    begin(page, address)
    given = {}
    for place in range(FAST):
        task, key = shown(page), "120"[place * place % 3]
        page.keyboard.press(key)
        given[task] = KEYS[key]
    tasks = deck(folder)
    saved(page, FAST, len(tasks))
    assert list(given) == tasks[:FAST]
    assert answers(folder) == given


def test_a_reload_a_second_tab_and_a_restart_go_on_with_what_is_left(page: Page, studio: Studio, folder: Path) -> None:
    begin(page, studio.address)
    given = {shown(page): "yes"}
    page.keyboard.press("1")
    given[shown(page)] = "no"
    page.keyboard.press("2")
    total = len(deck(folder))
    saved(page, 2, total)
    page.reload()
    expect(page.locator(".count")).to_have_text(f"2 of {total}")

    other = page.context.new_page()
    other.set_default_timeout(PATIENCE_MS)
    other.goto(page.url)
    both = shown(page)
    assert shown(other) == both
    other.keyboard.press("0")
    saved(other, 3, total)
    page.bring_to_front()
    page.keyboard.press("1")  # on the picture that the other tab has answered: the first answer stands
    saved(page, 3, total)
    given[both] = "absent"
    other.close()
    assert answers(folder) == given

    studio.kill()
    task = shown(page)
    page.keyboard.press("1")
    assert answers(folder) == given
    studio.start()
    given[task] = "yes"
    expect(page.locator(".count")).to_have_text(f"4 of {total}")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible(timeout=3 * PATIENCE_MS)
    assert answers(folder) == given


def test_undo_takes_back_this_answer_and_then_the_one_before(page: Page, address: str, folder: Path) -> None:
    begin(page, address)
    first = shown(page)
    page.keyboard.press("1")
    second = shown(page)
    page.keyboard.press("1")
    page.keyboard.press("Control+z")
    assert shown(page) == second
    page.keyboard.press("2")
    total = len(deck(folder))
    saved(page, 2, total)
    assert answers(folder) == {first: "yes", second: "no"}
    page.reload()
    assert shown(page) not in (first, second)
    page.get_by_role("button", name="Undo").click()
    assert shown(page) == second
    saved(page, 1, total)
    assert answers(folder) == {first: "yes"}


def test_a_pair_is_rated_and_results_come_only_after_the_end(page: Page, address: str, folder: Path) -> None:
    begin(page, address, question="Which of two is better?")
    total = len(deck(folder))
    for key in "120":
        shown(page)
        page.keyboard.press(key)
    saved(page, 3, total)
    assert sorted(answers(folder).values()) == ["first", "second", "tie"]
    assert not page.get_by_text("Model lora").count() and "lora" not in page.locator(".stage").inner_html()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("3 of")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    shown(page)
    page.get_by_role("button", name="End and see the results").click()
    page.get_by_role("button", name="End here").click()
    expect(page.get_by_role("cell", name="Model lora", exact=True)).to_be_visible()
    expect(page.get_by_text("1 of 3 duels were ties")).to_be_visible()
