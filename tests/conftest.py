"""What tests share: tiny models, a dataset of toys; for a real browser a studio of its own and a headless Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sdstudio import jobs
from sdstudio.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
PATIENCE_MS = 90_000
"""A busy machine is no failure; on an idle one nothing takes this long."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder of a tiny model of a kind, such as 'sd1', made when it is first asked for; only to be read."""
    root = tmp_path_factory.mktemp("tiny")

    def folder(kind: str) -> Path:
        from tiny_models import build

        if not (root / kind).exists():
            build(kind, root / kind)
        return root / kind

    return folder


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """A workspace that holds the dataset 'toys'."""
    from tiny_models import make_dataset

    workspace = Workspace(tmp_path)
    make_dataset(workspace)
    return workspace


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shots", help="the folder that the newcomer's hour keeps its pictures of the pages in")


@pytest.fixture
def quiet_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The empty workspace of pages that run in this process, without the starter's examples; its queue stands still."""
    root = tmp_path / "studio"
    root.mkdir()
    monkeypatch.setenv("SDSTUDIO_WORKSPACE", str(root))
    monkeypatch.setattr("sdstudio.starter.examples.install", lambda workspace: None)
    monkeypatch.setattr("sdstudio.jobs.queue._advance", lambda workspace, database: None)
    return Workspace(root)


class Studio:
    """A studio of its own, started as `make run` starts it, on a free port that it keeps over a restart."""

    def __init__(self, workspace: Workspace, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "SDSTUDIO_WORKSPACE": str(workspace.root), "OMP_NUM_THREADS": "1"}
        self.log = log
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(self.port)]
        with self.log.open("ab") as output:
            self.server = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=output, stderr=output)
        wait_until_healthy(f"{self.address}/_stcore/health", self.server, self.log)

    def kill(self) -> None:
        self.server.kill()
        self.server.wait(timeout=20)

    def stop(self) -> None:
        self.server.terminate()
        self.server.wait(timeout=20)


@pytest.fixture
def studio(workspace: Workspace, tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(workspace, tmp_path / "server.log")
    try:
        yield studio
    finally:
        studio.stop()
        for job in jobs.list_jobs(workspace):
            jobs.stop_job(workspace, job.id, now=True)


@pytest.fixture
def address(studio: Studio) -> str:
    return studio.address


def wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"The studio did not answer within three minutes:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture
def page() -> "Iterator[Page]":
    """A page of a headless Chromium that says when the studio reaches for anything outside this machine."""
    from playwright.sync_api import expect, sync_playwright

    program = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    if program is None:
        pytest.fail("This test needs Chromium and found none: install it with `apt-get install chromium`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.on("request", lambda request: problems.append(request.url) if is_foreign(request.url) else None)
        yield page
        browser.close()
    assert problems == []


def is_foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
