"""The tabs Grid, Suites and Gallery of the Generate page.   pytest tests/test_generate_tabs.py"""

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from studio_pages import ROOT, open_page, words
from tiny_runs import finished_run

from sdstudio import collection, jobs, suites
from sdstudio.pictures.image_folder import write_image
from sdstudio.pictures.png_text import read_parameters
from sdstudio.schema import (
    GenerateConfig,
    GeneratedImage,
    GridConfig,
    ModelRef,
    Protocol,
    SampleSettings,
    from_json,
)
from sdstudio.ui.generate import reading
from sdstudio.workspace import Workspace, read_json


def add(ws: Workspace, seed: int) -> str:
    image = GeneratedImage(
        file=f"a-{seed}.png",
        prompt=f"a toy, number {seed}",
        negative_prompt="",
        seed=seed,
        model=ModelRef(),
        checkpoint_hash="",
        settings=SampleSettings(seed=seed),
        width=8,
        height=8,
    )
    write_image(ws.images / "20260101-a", image, Image.new("RGB", (8, 8)), PngInfo())
    return f"images/20260101-a/{image.file}"


def config_of(ws: Workspace, kind: str) -> object:
    (job,) = jobs.list_jobs(ws, kind)
    return read_json(job.folder / "config.json")


def test_a_grid_is_asked_for_and_what_is_wrong_is_said(quiet_workspace: Workspace) -> None:
    app = open_page("generate", view="Grid")
    assert "3 × 2 = 6 pictures" in words(app)
    app.text_input(key="grid.prompt").set_value("a red (hat").run()
    assert "is never closed" in words(app)
    app.text_input(key="grid.prompt").set_value("a red hat")
    app.text_input(key="grid.settings.negative_prompt").set_value("rain")
    app.selectbox(key="grid.axis2").set_value("seed").run()
    app.text_input(key="grid.values2.seed").set_value("5-1").run()
    assert "is no range" in words(app).replace("\\", "") and "3 × 2 = 6 pictures" in words(app)
    app.text_input(key="grid.values2.seed").set_value("1-3").run()
    assert "3 × 2 × 3 = 18 pictures" in words(app)
    app.text_input(key="grid.values0.guidance_scale").set_value("3, 99").run()
    app.button(key="grid.draw").click().run()
    assert "the most is 30" in app.error[0].value and not jobs.list_jobs(quiet_workspace, "grid")
    app.text_input(key="grid.values0.guidance_scale").set_value("3, 9").run()
    app.button(key="grid.draw").click().run()
    assert not app.exception
    config = from_json(GridConfig, config_of(quiet_workspace, "grid"))
    assert [(axis.setting, axis.values) for axis in config.axes] == [
        ("guidance_scale", ["3", "9"]),
        ("steps", ["10", "20"]),
        ("seed", ["1", "2", "3"]),
    ]
    assert config.base.prompts == ["a red hat"] and config.base.settings.negative_prompt == "rain"


def test_a_suite_is_drawn_with_its_subject(quiet_workspace: Workspace) -> None:
    suites.add(quiet_workspace, "a-mine.txt", b"# title: Mine\na {subject} on Mars\na hat")
    (quiet_workspace.suites / "broken.txt").write_bytes(b"\xff")
    app = open_page("generate", view="Suites")
    assert "broken" in words(app)
    app.selectbox(key="suites.suite").set_value("a-mine").run()
    app.number_input(key="suites.each").set_value(2).run()
    assert "2 prompts × 1 model × 2 seeds = 4 pictures" in words(app)
    app.button(key="suites.draw").click().run()
    assert "Mine wants a subject" in app.error[0].value.replace("\\", "")
    app.text_input(key="suites.subject").set_value("zorby mascot").run()
    app.button(key="suites.compare").click().run()
    assert "choose a trained model" in app.error[0].value
    app.button(key="suites.draw").click().run()
    assert not app.exception and app.text_area(key="generate.prompts")
    config = from_json(GenerateConfig, config_of(quiet_workspace, "generate"))
    assert config.prompts == ["a zorby mascot on Mars", "a hat"] and (config.count, config.settings.seed) == (2, 1)


def test_a_suite_becomes_a_comparison_in_one_click(quiet_workspace: Workspace) -> None:
    finished_run(quiet_workspace, "run-a", "asim style", "asim, a cat")
    app = open_page("generate", view="Suites")
    app.selectbox(key="suites.suite").set_value("sam-style").run()
    app.number_input(key="suites.each").set_value(2)
    app.text_input(key="suites.settings.negative_prompt").set_value("blurry")
    app.button(key="suites.compare").click().run()
    assert not app.exception and not app.error
    assert [title.value for title in app.title] == ["Evaluate"]
    app.switch_page(str(ROOT / "pages/evaluate.py"))  # the browser is there; the test's next run would not be
    app.button(key="compare").click().run()
    assert not app.exception and [error.value for error in app.error] == []
    protocol = from_json(Protocol, config_of(quiet_workspace, "evaluate"))
    assert protocol.prompts == suites.load(quiet_workspace, "sam-style").fill("{trigger}")
    assert protocol.seeds == [1, 2] and protocol.drift_prompts == []
    assert [model.checkpoint for model in protocol.models] == ["runs/run-a/checkpoints/step-000020"]
    assert protocol.settings.negative_prompt == "blurry" and "{trigger}" in protocol.prompts[0]


def test_the_gallery_filters_deletes_and_brings_back(quiet_workspace: Workspace) -> None:
    app = open_page("generate", view="Gallery")
    assert "No picture has been drawn yet" in words(app)
    refs = [add(quiet_workspace, seed) for seed in range(12)]
    collection.mark(quiet_workspace, refs[1], "favourite")
    app.run()
    assert "**12 pictures**" in words(app)
    app.text_input(key="gallery.text").set_value("number 1").run()
    assert "**3 pictures**" in words(app)
    app.session_state["gallery.selected"] = refs[10:12]
    app.run()
    app.button(key="gallery.delete").click().run()
    assert "**1 picture**" in words(app) and "Deleted 2 pictures" in words(app)
    app.button(key="gallery.undo-delete").click().run()
    assert "**3 pictures**" in words(app) and "Deleted 2" not in words(app)
    app.button_group(key="gallery.marked").set_value("favourite").run()
    assert "**1 picture**" in words(app)
    app.text_input(key="gallery.text").set_value("dog").run()
    assert "No picture matches these filters" in words(app)


def test_settings_of_other_programs_fill_the_form(
    quiet_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_parameters(
        "a cat,\nred\nNegative prompt: dogs\nSteps: 9, Sampler: Euler a, CFG scale: 4, Seed: 8, Size: 64x64, Model: v1"
    )
    monkeypatch.setattr("sdstudio.pictures.png_text.read", lambda file: found)
    state: dict[str, object] = {}
    monkeypatch.setattr("streamlit.session_state", state)
    with (tmp_path / "a.png").open("wb+") as file:
        said = reading._taken(quiet_workspace, file)
    assert state["generate.prompts"] == "a cat, red" and state["generate.settings.negative_prompt"] == "dogs"
    assert (state["generate.settings.scheduler"], state["generate.settings.seed"]) == ("euler a", 8)
    assert said == [
        "The form holds its settings.",
        "It was drawn by the model v1: choose it where you have it, or another.",
    ]
