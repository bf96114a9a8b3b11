"""Hostile names and ids at every door that leads to the disk: a sentence each, and nothing outside is touched.

pytest tests/test_hostile_names.py     10,000 of them: pytest -m slow tests/test_hostile_names.py
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tiny_models import make_dataset

from sdstudio import collection, jobs, suites
from sdstudio.datasets import create_dataset, open_dataset
from sdstudio.models import resolve_base_model, resolve_checkpoint
from sdstudio.schema import CaptionConfig, GenerateConfig, ModelRef, TrainConfig, UserError
from sdstudio.ui.files import routes
from sdstudio.workspace import ENV_VAR, Workspace

SECRET = "what is not the studio's"
PIECES = [
    "..", ".", "/", "\\", "~", "\0", "\n", " ", "%2e%2e", "%2f", "..%5c", "....//", "C:", "CON", "nul.txt", "$HOME",
    "*", "?", "|", ";", "`id`", "file://", "\u202e", "\ud800", "é", "\U0001f469\u200d\U0001f3a4", "..\\..",
    "/etc/passwd", "a" * 300, ".git", "-rf", "'", '"', "outside", "secret.txt", "../outside/secret.txt",
    "../../outside", "runs", "datasets", "toys", "studio.db", "trash", "<b>",
]  # fmt: skip
NAMES = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=6).map("/".join),
    st.text(max_size=40),
)
DOORS: dict[str, Callable[[Workspace, str], Any]] = {
    "dataset": lambda ws, name: open_dataset(ws, name).counts(),
    "picture": lambda ws, name: open_dataset(ws, "toys").image_path(name),
    "thumbnail": lambda ws, name: open_dataset(ws, "toys").thumb_path(name),
    "snapshot": lambda ws, name: open_dataset(ws, "toys").load_snapshot(name),
    "job": jobs.get_job,
    "stop": jobs.stop_job,
    "resume": jobs.resume_job,
    "again": jobs.run_again,
    "move": lambda ws, name: jobs.move(ws, name, "up"),
    "delete": jobs.delete_job,
    "restore": jobs.restore_job,
    "checkpoint": resolve_checkpoint,
    "base model": resolve_base_model,
    "suite": suites.load,
    "own suite": lambda ws, name: suites.add(ws, f"{name}.txt", b"{subject} on a beach"),
    "mark": lambda ws, name: collection.mark(ws, name, "bad", "eyes"),
    "delete a picture": lambda ws, name: collection.mark(ws, name, "deleted"),
    "restore a picture": lambda ws, name: collection.mark(ws, name, "restored"),
    "negative examples": collection.negatives_dataset,
    "train": lambda ws, name: jobs.submit(ws, "train", TrainConfig(dataset=name, name=name)),
    "caption": lambda ws, name: jobs.submit(ws, "caption", CaptionConfig(dataset=name)),
    "generate": lambda ws, name: jobs.submit(
        ws,
        "generate",
        GenerateConfig(prompts=[name], models=[ModelRef(checkpoint=name or "x", label=name)]),
        title=name,
    ),
}
ADDRESSES = (
    "/files/thumbs/{0}/{0}", "/files/pictures/toys/{0}", "/files/fits/toys/{0}/{0}", "/files/exports/{0}",
    "/files/runs/{0}", "/files/images/job/{0}.png", "/files/evaluations/{0}/a.png", "/files/rated/{0}/{0}/{0}/0",
)  # fmt: skip


@pytest.fixture
def studio(quiet_workspace: Workspace) -> Iterator[Workspace]:
    """A workspace with a dataset in it, and beside it what it must not touch."""
    make_dataset(quiet_workspace)
    for folder in ("outside", "datasets", "runs"):
        place = quiet_workspace.root.parent / folder
        place.mkdir()
        (place / "secret.txt").write_text(SECRET, encoding="utf-8")
        (place / "a.png").write_text(SECRET, encoding="utf-8")
    kept = quiet_workspace.runs / "kept"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text("{}", encoding="utf-8")
    before = tree(quiet_workspace.root.parent, but=quiet_workspace.root), tree(quiet_workspace.dataset("toys"))
    yield quiet_workspace
    assert tree(quiet_workspace.root.parent, but=quiet_workspace.root) == before[0], "something outside was touched"
    assert tree(quiet_workspace.dataset("toys")).items() >= before[1].items(), "the dataset was touched"
    assert (kept / "config.json").exists()


def tree(root: Path, but: Path | None = None) -> dict[str, str]:
    """Every file below `root`, without the databases, by what it holds."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".db" not in path.name and not (but and path.is_relative_to(but))
    }


def knock(ws: Workspace, name: str) -> None:
    """At every door: a sentence, or what lies within the workspace."""
    for door, open_it in DOORS.items():
        try:
            open_it(ws, name)
        except UserError as error:
            assert str(error).strip(), door
    with_name = ws.datasets / name if name and not {"\0", "\ud800"} & set(name) and len(name) < 80 else None
    try:
        create_dataset(ws, name)
    except UserError:
        return
    assert with_name is not None and with_name.parent == ws.datasets


def call(client: TestClient, name: str) -> None:
    for address in ADDRESSES:
        answer = client.get(address.format(quote(name.encode("utf-8", "surrogatepass"), safe="")))
        assert answer.status_code in (404, 405, 307) and SECRET not in answer.text, (address, name)


def try_names(studio: Workspace, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setenv(ENV_VAR, str(studio.root))
    with TestClient(Starlette(routes=routes()), base_url="http://127.0.0.1") as client:

        @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(NAMES)
        @example("\0")
        @example("a" * 300)
        @example("\ud800")
        @example("..")
        @example("~nobody.txt")
        @example("runs/" + "a" * 300)
        @example("\0.txt")
        @example("")
        def each(name: str) -> None:
            knock(studio, name)
            call(client, name)

        each()


def test_names_are_refused_or_stay_inside(studio: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    try_names(studio, monkeypatch, 40)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_names_are_refused_or_stay_inside(studio: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    try_names(studio, monkeypatch, 10_000)
