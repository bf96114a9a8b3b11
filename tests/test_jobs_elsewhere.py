"""Jobs on the other pages: the indicator, Home, the estimate, the picker of places.

pytest tests/test_jobs_elsewhere.py
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from staged_jobs import asked, running
from streamlit.testing.v1 import AppTest
from studio_pages import open_page, words

from sdstudio.jobs import backends
from sdstudio.jobs.context import JobContext
from sdstudio.jobs.folder import read_state, write_state
from sdstudio.pictures.image_folder import write_image
from sdstudio.schema import (
    Device,
    Estimate,
    GeneratedImage,
    Job,
    ModelRef,
    Placement,
    SampleSettings,
    UserError,
    from_json,
)
from sdstudio.ui.jobs import describe
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

HOSTILE = "a **bold** ![x](http://elsewhere.example/x.png) title"


@pytest.fixture
def workspace(quiet_workspace: Workspace) -> Workspace:
    return quiet_workspace


def test_every_page_says_what_runs(workspace: Workspace) -> None:
    def said(app: AppTest) -> str:
        [link] = [link for link in app.sidebar.get("page_link") if link.proto.page == "jobs"]
        return link.value

    assert said(open_page("home")) == "No job is running"
    job = running(workspace, "asim *style*")
    JobContext(workspace, job.folder).progress(30, 120, "steps")
    asked(workspace), asked(workspace)
    for page in ("home", "generate"):
        app = open_page(page)
        assert said(app) == "1 running, 2 queued"
        assert (app.sidebar.get("progress")[0].proto.text, app.sidebar.get("progress")[0].proto.value) == (
            literal("asim *style* · 25%"),
            25,
        )


def test_home_says_what_is_under_way_and_what_happened_last(workspace: Workspace) -> None:
    made = asked(workspace, "a cat")
    JobContext(workspace, made.folder).progress(4, 4, "pictures")
    for seed in range(4):
        image = GeneratedImage(
            file=f"{seed}.png", prompt=HOSTILE, negative_prompt="", seed=seed, model=ModelRef(), checkpoint_hash="",
            settings=SampleSettings(), width=8, height=8,
        )  # fmt: skip
        write_image(made.folder, image, Image.new("RGB", (8, 8)), PngInfo())
    now = time.time()
    write_state(made.folder, replace(read_state(made.folder), state="succeeded", started=now, ended=now))
    runs = running(workspace, HOSTILE)
    app = open_page("home")
    assert "4 pictures made, one under way" in words(app) and "No run yet" in words(app)
    assert "One under way" not in words(app)
    links = {link.proto.query_string: link.value for link in app.page_link if link.proto.page == "jobs"}
    assert links[f"job={runs.id}"] == literal(HOSTILE) and links[f"job={made.id}"] == "a cat"


def draw(script: Callable[..., None]) -> AppTest:
    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception, app.exception
    return app


def test_an_estimate_is_said_and_so_is_a_refusal(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def script() -> None:
        import streamlit as st

        from sdstudio.schema import GenerateConfig, Placement
        from sdstudio.ui.estimate import show_estimate
        from sdstudio.workspace import current_workspace

        st.text(str(show_estimate(current_workspace(), "generate", GenerateConfig(prompts=["a cat"]), Placement())))

    known = Estimate(
        seconds=125, memory_bytes=2_100_000_000, disk_bytes=None, free_bytes=45 * 10**9, notes=("*Note*.",)
    )
    monkeypatch.setattr("sdstudio.jobs.estimate", lambda *asked: known)
    app = draw(script)
    assert "About 2 min 5 s" in words(app) and literal("2.1 GB of memory") in words(app)
    assert "disk not known yet" in words(app) and literal("45.0 GB free") in words(app) and r"\*Note\*\." in words(app)
    assert app.text[-1].value == "True"

    def refuse(*asked: object) -> Estimate:
        raise UserError("The disk cannot hold it *twice*.")

    monkeypatch.setattr("sdstudio.jobs.estimate", refuse)
    app = draw(script)
    assert app.warning[0].value == r"The disk cannot hold it \*twice\*\." and app.text[-1].value == "False"


def pick() -> None:
    import streamlit as st

    from sdstudio.schema import to_json
    from sdstudio.ui.placement import placement_picker
    from sdstudio.workspace import current_workspace

    st.json(to_json(placement_picker(current_workspace(), "train", several=True)))


def test_where_to_run_is_asked_only_where_there_is_a_choice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = backends.Availability(name="local", label="This machine", why_not="")
    monkeypatch.setattr(backends, "available", lambda workspace: [here])
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")
    app = draw(pick)
    assert not app.selectbox and not app.number_input
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cuda:0,cuda:1,cuda:2")
    app = draw(pick)
    app.number_input(key="train.processes").set_value(3).run()
    assert Placement(processes=3) == placement_of(app)
    app.selectbox(key="train.device").set_value("cuda:1").run()
    assert Placement(device="cuda:1") == placement_of(app)
    assert not app.number_input


def test_a_cluster_can_be_chosen_once_it_is_ready(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")
    here = backends.Availability(name="local", label="This machine", why_not="")
    ray = backends.Availability(name="ray", label="Ray cluster", why_not="")
    missing = backends.Availability(name="slurm", label="Slurm cluster", why_not="Install the *extra*.")
    monkeypatch.setattr(backends, "available", lambda workspace: [here, missing])
    assert not draw(pick).selectbox
    monkeypatch.setattr(backends, "available", lambda workspace: [here, ray, missing])
    app = draw(pick)
    assert r"Install the \*extra\*" in app.selectbox(key="train.backend").help
    app.selectbox(key="train.backend").set_value("ray").run()
    app.number_input(key="train.processes").set_value(4).run()
    assert Placement(backend="ray", processes=4) == placement_of(app)


def placement_of(app: AppTest) -> Placement:
    return from_json(Placement, json.loads(app.json[0].value))


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("rate", "said"),
    [(None, ""), (12.34, "12 steps/s"), (1.5, "1.5 steps/s"), (0.25, "15 steps/min"), (0.001, "3.6 steps/h")],
)
def test_a_rate_is_said_in_the_unit_that_reads_best(tmp_path: Path, rate: float | None, said: str) -> None:
    job = Job(id="a", kind="train", title="", folder=tmp_path, state="running", created=0.0, unit="steps", rate=rate)
    assert describe.rate_text(job) == said


def test_a_place_has_its_name(tmp_path: Path) -> None:
    job = Job(id="a", kind="train", title="", folder=tmp_path, state="running", created=0.0, device="cuda:0,cuda:3")
    assert describe.facts(job) == "Training · GPU 0, GPU 3"
    assert describe.facts(replace(job, placement=Placement(backend="slurm"), device="")) == "Training · Slurm"
    assert (
        describe.device_line(Device(name="cuda:0", label="NVIDIA H200", memory=150 * 2**30)) == "NVIDIA H200, 150 GiB"
    )
