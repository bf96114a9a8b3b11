"""The Jobs page in a real browser, with its server killed: pytest tests/test_browser_jobs.py

pytest tests/test_browser_jobs.py -s        # prints how long an open page was wrong after the server was back
pytest tests/test_browser_jobs.py -m slow   # what is asked before it is done; a training outlives its server
"""

import time
from dataclasses import replace
from pathlib import Path

import light_jobs
import pytest
from conftest import Studio
from jobs_helpers import install_light_jobs, until
from playwright.sync_api import Locator, Page, expect

from sdstudio import jobs
from sdstudio.jobs.folder import read_state
from sdstudio.schema import ENDED, Job, LoopConfig, TrainConfig
from sdstudio.starter import examples
from sdstudio.workspace import Workspace

LONG = 100_000


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace without the starter's examples, on two pretended devices."""
    workspace = Workspace(tmp_path / "studio")
    workspace.root.mkdir()
    for example in examples.EXAMPLES:
        workspace.dataset(example.name).mkdir(parents=True)
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu:0,cpu:1")
    return workspace


@pytest.fixture
def light(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that only count, here and in every process of the studio."""
    install_light_jobs(tmp_path, monkeypatch)


def card(page: Page, job: Job) -> Locator:
    return page.locator(f".st-key-job-card-{job.id}")


def line(page: Page, job: Job) -> Locator:
    return page.locator(f".st-key-job-line-{job.id}")


def row(page: Page, job: Job) -> Locator:
    """The job among those that have ended."""
    return page.locator(f".st-key-job-row-{job.id}")


def indicator(page: Page) -> Locator:
    return page.locator(".st-key-indicator")


def queue(workspace: Workspace) -> list[str]:
    return [job.id for job in jobs.live_jobs(workspace) if job.state == "queued"]


def state(workspace: Workspace, job: Job) -> str:
    return jobs.get_job(workspace, job.id).state


@pytest.mark.usefixtures("light")
def test_nothing_stops_and_the_page_is_right_again(page: Page, studio: Studio, workspace: Workspace) -> None:
    """Reload, a second tab, the server killed; meanwhile a job ends, one is taken out and the queue moves up."""
    first, second = light_jobs.submit(workspace, LONG, "first"), light_jobs.submit(workspace, LONG, "second")
    third, fourth = light_jobs.submit(workspace, LONG, "third"), light_jobs.submit(workspace, LONG, "fourth")
    page.goto(f"{studio.address}/jobs")
    for job in (first, second):
        expect(card(page, job).get_by_text("running")).to_be_visible()
    expect(line(page, fourth)).to_be_visible()
    expect(indicator(page)).to_contain_text("2 running, 2 queued")
    worker = read_state(first.folder).worker

    page.reload()
    expect(card(page, second).get_by_text("running")).to_be_visible()
    tab = page.context.new_page()
    tab.goto(studio.address)
    indicator(tab).get_by_role("link").click()
    card(tab, second).get_by_role("button", name="Stop", exact=True).click()
    expect(row(page, second).get_by_text("cancelled")).to_be_visible()
    expect(card(page, third).get_by_text("running")).to_be_visible()
    tab.close()

    fifth, sixth, seventh = (light_jobs.submit(workspace, LONG, name) for name in ("fifth", "sixth", "seventh"))
    expect(line(page, seventh)).to_be_visible()
    studio.kill()
    jobs.stop_job(workspace, fourth.id)
    jobs.stop_job(workspace, third.id)
    until(lambda: state(workspace, fifth) == "running")
    assert read_state(first.folder).worker == worker
    expect(line(page, fourth)).to_be_visible()  # the page of before still shows what was

    studio.start()
    back = time.monotonic()
    down = line(page, sixth).get_by_role("button", name="Down")
    down.click()  # where nothing lies any more: two jobs have left the queue
    for job in (third, fourth):
        expect(row(page, job).get_by_text("cancelled")).to_be_visible()
    for job in (first, fifth):
        expect(card(page, job).get_by_text("running")).to_be_visible()
    print(f"\nThe open page was right {time.monotonic() - back:.1f} s after the server was back.")
    if queue(workspace) == [sixth.id, seventh.id]:  # a click may be lost with the connection; it never goes astray
        down.click()
    until(lambda: queue(workspace) == [seventh.id, sixth.id])
    running = [job for job in jobs.list_jobs(workspace) if job.state == "running"]
    assert {job.id for job in running} == {first.id, fifth.id}
    assert light_jobs.starts(first) == 1 and read_state(first.folder).worker == worker


@pytest.mark.slow
@pytest.mark.usefixtures("light")
def test_stop_now_and_delete_ask_and_delete_is_taken_back(page: Page, studio: Studio, workspace: Workspace) -> None:
    job, other = light_jobs.submit(workspace, LONG, "a long one"), light_jobs.submit(workspace, LONG, "another")
    page.goto(f"{studio.address}/jobs")
    card(page, job).get_by_role("button", name="Stop now").click()
    question = page.get_by_text("End it at once, without saving?")
    expect(question).to_be_visible()
    page.wait_for_timeout(5000)  # longer than the page rests between two looks
    expect(question).to_be_visible()
    assert state(workspace, job) == "running"
    page.locator(f".st-key-stop-now-{job.id} button").click()
    expect(row(page, job).get_by_text("cancelled")).to_be_visible()

    line(page, job).locator(".stMenuButton button").click()
    page.get_by_text("Delete…").click()
    jobs.stop_job(workspace, other.id, now=True)
    expect(row(page, other)).to_be_visible()  # the whole page was drawn again, and still asks
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(row(page, job)).to_have_count(0)
    assert not job.folder.exists() and [gone.id for gone in jobs.trash(workspace)] == [job.id]
    page.get_by_role("button", name="Undo").click()
    expect(row(page, job)).to_be_visible()
    assert job.folder.exists() and jobs.trash(workspace) == []


@pytest.mark.slow
def test_a_training_outlives_its_server(page: Page, studio: Studio, workspace: Workspace) -> None:
    """The starter learns for a few steps; the server is killed meanwhile, and the page shows the run's true end."""
    [style] = [example for example in examples.EXAMPLES if example.name == "asim-style"]
    workspace.dataset(style.name).rmdir()
    examples.install(workspace)
    loop = replace(LoopConfig(), steps=30, batch_size=2)
    job = jobs.submit(workspace, "train", TrainConfig(dataset=style.name, loop=loop))
    page.goto(f"{studio.address}/jobs?job={job.id}")
    expect(page.get_by_text(" of 30 steps")).to_be_visible(timeout=120_000)
    studio.kill()
    before = jobs.get_job(workspace, job.id).done
    until(lambda: jobs.get_job(workspace, job.id).done > before or state(workspace, job) in ENDED, 60)
    studio.start()
    expect(card(page, job).get_by_text("running").or_(card(page, job).get_by_text("succeeded"))).to_be_visible()
    expect(card(page, job).get_by_text("succeeded")).to_be_visible(timeout=240_000)
    assert [row["step"] for row in jobs.read_metrics(job) if "loss" in row] == list(range(1, 31))
