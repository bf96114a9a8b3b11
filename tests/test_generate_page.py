"""The Ask tab, run without a browser: what it asks for, what it says at each field, what it shows.

pytest tests/test_generate_page.py
"""

import time
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from studio_pages import open_page, words
from tiny_runs import finished_run

from sdstudio import collection, jobs
from sdstudio.interactive import HANDFUL, Batch, GenerationHub
from sdstudio.pictures.image_folder import write_image
from sdstudio.pictures.png_text import write as png_info
from sdstudio.schema import GenerateConfig, GeneratedImage, ModelRef, SampleSettings, UserError, from_json
from sdstudio.ui.generate import live
from sdstudio.workspace import Workspace, read_json, write_json


@pytest.fixture
def workspace(quiet_workspace: Workspace) -> Workspace:
    live._hub.clear()
    return quiet_workspace


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> list[GenerateConfig]:
    """What the page has asked the hub for; the hub takes it and draws nothing."""
    configs: list[GenerateConfig] = []

    def ask(hub: GenerationHub, config: GenerateConfig) -> Batch:
        configs.append(config)
        folder = workspace.images / f"batch-{len(configs)}"
        write_json(folder / "config.json", {"prompts": config.prompts})
        return Batch(id=folder.name, folder=folder, config=config, asked=time.time())

    monkeypatch.setattr(GenerationHub, "ask", ask)
    return configs


def press(app: AppTest, key: str = "generate") -> None:
    app.button(key=key).click().run()
    assert not app.exception, app.exception


def drawn(workspace: Workspace, label: str = "Starter (bundled)", seed: int = 7, **changes: Any) -> GeneratedImage:
    """A batch of one picture, as the hub leaves it."""
    folder = workspace.images / "20260101-120000-a-cat-aaaa"
    settings = SampleSettings(seed=seed, steps=9, guidance_scale=4.5, scheduler="euler a", negative_prompt="rain")
    image = GeneratedImage(
        file=f"a-cat-{seed}-{label[:2]}.png",
        prompt="a cat",
        negative_prompt="rain",
        seed=seed,
        model=ModelRef(label=label),
        checkpoint_hash="",
        settings=settings,
        width=64,
        height=64,
    )
    image = replace(image, **changes)
    write_json(folder / "config.json", {"prompts": ["a cat"]})
    write_image(folder, image, Image.new("RGB", (64, 64), (seed, 90, 90)), png_info(image, "", "0" * 64, label))
    return image


def test_a_handful_goes_to_the_hub_with_every_setting(workspace: Workspace, asked: list[GenerateConfig]) -> None:
    app = open_page("generate")
    app.text_area(key="generate.prompts").set_value("a cat\n\n  a dog  ")
    app.text_area(key="generate.settings.negative_prompt").set_value("blue ")
    app.number_input(key="generate.count").set_value(3)
    app.selectbox(key="generate.settings.scheduler").select("dpm++2m karras")
    app.number_input(key="generate.settings.clip_skip").set_value(1)
    press(app)
    assert not app.error
    [config] = asked
    assert (config.prompts, config.count) == (["a cat", "a dog"], 3)
    assert (config.settings.negative_prompt, config.settings.scheduler) == ("blue", "dpm++2m karras")
    assert config.settings.clip_skip == 1 and [model.base_model for model in config.models] == ["starter"]
    assert app.query_params["batch"] == "batch-1"


def test_no_prompt_is_allowed(workspace: Workspace, asked: list[GenerateConfig]) -> None:
    press(open_page("generate"))
    assert asked[0].prompts == [""]


def test_more_than_a_handful_is_a_job(workspace: Workspace, asked: list[GenerateConfig]) -> None:
    app = open_page("generate")
    app.number_input(key="generate.count").set_value(HANDFUL + 1)
    app.text_area(key="generate.prompts").set_value("a cat").run()
    assert f"{HANDFUL + 1} pictures: a job of its own" in words(app)
    press(app)
    [job] = jobs.list_jobs(workspace, "generate")
    config = from_json(GenerateConfig, read_json(job.folder / "config.json"))
    assert config.count == HANDFUL + 1 and asked == []


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("generate.prompts", "a (cat", r"The bracket '\(' at character 3 is never closed"),
        ("generate.prompts", "a cat AND ", "AND joins two prompts and one side is empty"),
        ("generate.settings.negative_prompt", "(bad:99)", "The weight 99 at character"),
        ("generate.prompts", "<lora:x:1>", "is not read here"),
        ("generate.prompts", "a dog\na (cat", "“a (cat”: The bracket '(' at character 3"),
    ],
)
def test_wrong_syntax_is_said_at_its_field(key: str, text: str, said: str, workspace: Workspace) -> None:
    app = open_page("generate")
    app.text_area(key=key).set_value(text).run()
    assert said.replace("\\", "") in words(app).replace("\\", "")


def test_the_token_counter_counts_words_and_windows(workspace: Workspace) -> None:
    app = open_page("generate")
    app.text_area(key="generate.prompts").set_value("a (cat:1.2)").run()
    assert "2 tokens of" in words(app)
    app.text_area(key="generate.prompts").set_value("a cat BREAK a dog\na hat").run()
    assert "The longest has 4 tokens, read in 2 windows of" in words(app)


def test_a_preset_and_taught_words_are_added_in_one_click(workspace: Workspace) -> None:
    folder = finished_run(workspace, "run-a", "asim style", "asim, a cat")
    for file in folder.glob("checkpoints/*/checkpoint.json"):
        write_json(file, read_json(file) | {"negative_parts": ["eyes"]})
    app = open_page("generate")
    press(app, "generate.settings.negative_prompt+negative eyes")
    press(app, "generate.settings.negative_prompt+Flaws")
    assert app.text_area(key="generate.settings.negative_prompt").value.startswith("negative eyes, blurry")
    app.text_area(key="generate.prompts").set_value("a cat").run()
    press(app, "generate.prompts+asim")
    assert app.text_area(key="generate.prompts").value == "a cat, asim"
    assert "generate.prompts+asim" not in [button.key for button in app.button]


def test_strengths_and_further_checkpoints_are_asked_for(workspace: Workspace, asked: list[GenerateConfig]) -> None:
    for run in ("run-a", "run-b"):
        finished_run(workspace, run, run, "asim, a cat")
    app = open_page("generate", model="runs/run-a/checkpoints/step-000020")
    extra = "runs/run-b/checkpoints/step-000010"
    app.multiselect(key="generate.extras").set_value([extra]).run()
    app.number_input(key="generate.weight.runs/run-a/checkpoints/step-000020").set_value(0.5)
    app.number_input(key=f"generate.weight.{extra}").set_value(-0.25)
    press(app)
    base, trained = asked[0].models
    assert (base.checkpoint, trained.checkpoint) == ("", "runs/run-a/checkpoints/step-000020")
    assert trained.weight == 0.5
    assert [(item.checkpoint, item.weight) for item in trained.extras] == [(extra, -0.25)]


def test_a_checkpoint_of_another_family_or_that_is_gone_is_named_at_its_field(workspace: Workspace) -> None:
    for run in ("run-a", "run-b"):
        finished_run(workspace, run, run, "asim, a cat")
    file = workspace.runs / "run-b/checkpoints/step-000020/checkpoint.json"
    write_json(file, read_json(file) | {"family": "sdxl"})
    app = open_page("generate", model="runs/run-a/checkpoints/step-000020")
    app.multiselect(key="generate.extras").set_value(["runs/run-b/checkpoints/step-000020"]).run()
    assert "was trained on the family 'sdxl'" in words(app).replace("\\", "")
    app.multiselect(key="generate.models").set_value(["runs/run-a/checkpoints/step-000020"]).run()
    (workspace.runs / "run-a").rename(workspace.root / "away")
    app.run()
    said = words(app).replace("\\", "")
    assert "run-a/checkpoints/step-000020 is not here any more" in said and "Choose a model to ask" in said


def test_what_the_hub_refuses_is_one_sentence(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(hub: GenerationHub, config: GenerateConfig) -> Batch:
        raise UserError("The checkpoint is *gone*.")

    monkeypatch.setattr(GenerationHub, "ask", refuse)
    app = open_page("generate")
    press(app)
    assert [error.value for error in app.error] == [r"The checkpoint is \*gone\*\."]


def test_a_second_tab_shows_the_batch_that_is_drawn(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn(workspace)
    folder = workspace.images / "20260101-120000-a-cat-aaaa"
    batch = Batch(
        id=folder.name, folder=folder, config=GenerateConfig(prompts=["a cat"], count=4), state="drawing",
        images=(image,), drawing=2, step=5, steps=20, forming=(b"\x89PNG",), seconds_left=3.0, asked=1.0,
    )  # fmt: skip
    cancelled: list[str] = []
    monkeypatch.setattr(GenerationHub, "batch", lambda hub, name: batch)
    monkeypatch.setattr(GenerationHub, "cancel", lambda hub, name: cancelled.append(name))
    app = open_page("generate")
    said = words(app).replace("\\", "")
    assert "1 of 4 pictures, step 5 of 20, 3 s left" in said
    press(app, f"cancel-{batch.id}")
    assert cancelled == [batch.id]
    reading = replace(batch, state="loading", cancelled=True)
    monkeypatch.setattr(GenerationHub, "batch", lambda hub, name: reading)
    app.run()
    assert "ends as soon as that is done, and nothing more is drawn" in words(app)
    assert app.button(key=f"cancel-{batch.id}").disabled and app.button(key=f"finish-{batch.id}").disabled


def test_a_picture_opens_with_its_settings_and_fills_the_form(
    workspace: Workspace, asked: list[GenerateConfig]
) -> None:
    image = drawn(workspace)
    app = open_page("generate")
    app.session_state[live.OPENED] = f"images/20260101-120000-a-cat-aaaa/{image.file}"
    app.run()
    table = app.table[0].value
    shown = dict(zip(table["Setting"], table["Value"], strict=True))
    assert (shown["Seed"], shown["Sampler"], shown["Guidance scale"]) == ("7", "Euler a", r"4\.5")
    [again] = [button for button in app.button if button.label == "Use these settings"]
    again.click().run()
    assert not app.exception
    assert app.text_area(key="generate.prompts").value == "a cat"
    assert app.number_input(key="generate.settings.steps").value == 9
    press(app)
    assert asked[0].settings == image.settings


def test_marks_are_kept_and_a_deletion_can_be_undone(workspace: Workspace) -> None:
    image = drawn(workspace)
    picture = f"images/20260101-120000-a-cat-aaaa/{image.file}"
    app = open_page("generate")
    app.session_state[live.OPENED] = picture
    app.run()
    app.selectbox(key=f"mark-{picture}-bad").select("eyes").run()
    assert collection.read_marks(workspace)[picture].bad == "eyes"
    app.session_state[live.OPENED] = picture
    app.run()
    [delete] = [button for button in app.button if button.label == "Delete"]
    delete.click().run()
    assert not (workspace.root / picture).exists()
    [undo] = [button for button in app.button if button.label == "Undo"]
    undo.click().run()
    assert (workspace.root / picture).is_file() and not collection.read_marks(workspace)[picture].deleted


def test_more_like_this_asks_for_the_next_seeds(workspace: Workspace, asked: list[GenerateConfig]) -> None:
    image = drawn(workspace)
    app = open_page("generate")
    app.session_state[live.OPENED] = f"images/20260101-120000-a-cat-aaaa/{image.file}"
    app.run()
    [more] = [button for button in app.button if button.label == "More like this"]
    more.click().run()
    assert not app.exception
    [config] = asked
    assert (config.settings.seed, config.count, config.prompts) == (8, 4, ["a cat"])
