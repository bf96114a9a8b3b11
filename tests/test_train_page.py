"""The Train page and the forms it is made of: pytest tests/test_train_page.py"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from tiny_models import make_dataset
from tiny_runs import finished_run

from sdstudio import jobs
from sdstudio.collection import mark
from sdstudio.datasets import open_dataset
from sdstudio.schema import STRICT, TrainConfig, from_json, option
from sdstudio.training.sweeps import list_sweeps
from sdstudio.workspace import Workspace, read_json

ROOT = Path(__file__).parents[1]
MAIN = ROOT / "sdstudio" / "ui" / "main.py"
HOSTILE = "a **bold** <b>face</b>"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A small config with every kind of field that the form treats in its own way."""

    __pydantic_config__ = STRICT
    rate: float = option(0.0, "How fast.", low=0.0, high=1.0, zero="the model's own")
    steps: int = option(5, "How many.", low=1, high=100)
    words: list[str] = option(["a", "b"], "Which.")
    loud: bool = option(False, "Whether it is heard.")
    volume: float = option(0.5, "How loud.", low=0.0, high=1.0, when="loud")
    hidden: int = option(3, "Rarely changed.", low=0, advanced=True, section="First")
    side: int = option(64, "In steps of 8.", low=0, step=8, advanced=True, section="Second")
    moments: list[int] = option([], "When.", advanced=True)


def form(values: dict[str, Any], **problems: str) -> AppTest:
    """A page with the form, a button that fills it with `values`, and what it returns as its last line."""

    def script(kind: type, values: dict, problems: dict) -> None:  # type: ignore[type-arg]
        import json

        import streamlit as st

        from sdstudio.ui.forms import config_form, fill_form

        st.button("Fill", key="fill", on_click=fill_form, args=(kind, "form", values))
        st.text(json.dumps(config_form(kind, "form", problems=problems)))

    arguments = {"kind": Settings, "values": values, "problems": problems}
    return AppTest.from_function(script, kwargs=arguments, default_timeout=60).run()


def returned(app: AppTest) -> dict[str, Any]:
    assert not app.exception, app.exception
    values: dict[str, Any] = json.loads(app.text[-1].value)
    return values


# ---------------------------------------------------------------- forms


def test_what_zero_stands_for_is_said_in_an_empty_field() -> None:
    app = form({})
    field = app.number_input(key="form.rate")
    assert field.value is None and field.placeholder == "the model's own"
    assert returned(app)["rate"] == 0.0
    assert returned(field.set_value(0.25).run())["rate"] == 0.25


def test_a_field_is_shown_only_where_it_means_something() -> None:
    app = form({})
    assert "form.volume" not in {item.key for item in app.number_input}
    app.toggle(key="form.loud").set_value(True).run()
    app.number_input(key="form.volume").set_value(0.9).run()
    assert returned(app)["volume"] == 0.9
    app.toggle(key="form.loud").set_value(False).run()
    assert returned(app)["volume"] == 0.5


def test_a_form_is_filled_as_a_whole() -> None:
    app = form({"rate": 0.5, "words": ["x"], "hidden": 8, "moments": [5]})
    app.number_input(key="form.steps").set_value(50).run()
    app.button(key="fill").click().run()
    assert returned(app) == {
        "rate": 0.5, "steps": 5, "words": ["x"], "loud": False, "volume": 0.5,
        "hidden": 8, "side": 64, "moments": ["5"],
    }  # fmt: skip
    assert app.expander[0].label == "More settings · 2 changed"
    assert [tab.label for tab in app.tabs] == ["First", "Second"]


def test_a_problem_stands_under_its_field() -> None:
    app = form({}, steps="Give at least *two*.")
    assert [item.value for item in app.markdown] == [r":red[:material/error: Give at least \*two\*\.]"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("side", 65, "multiple of 8"),
        ("side", 72, ""),
        ("moments", "5, soon, 7", "soon"),
        ("moments", "5, 30 60", ""),
    ],
)
def test_a_wrong_value_is_refused_at_its_field(field: str, value: Any, said: str) -> None:
    app = form({})
    widget = app.number_input if field == "side" else app.text_input
    widget(key=f"form.{field}").set_value(value).run()
    assert not app.exception
    assert [item.value for item in app.markdown if said in item.value and "red" in item.value] or not said
    assert len(app.markdown) == bool(said)


# ---------------------------------------------------------------- the page


@pytest.fixture
def workspace(quiet_workspace: Workspace) -> Workspace:
    """A workspace with two small datasets, whose jobs stay in the queue."""
    make_dataset(quiet_workspace, "cats")
    make_dataset(quiet_workspace, "dogs")
    return quiet_workspace


def open_page(**query: str) -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page(str(ROOT / "pages" / "train.py"))
    return ran(app)


def ran(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception, app.exception
    return app


def said(app: AppTest) -> str:
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "text", "html", "metric")
    return "\n".join(str(getattr(element, "value", "") or element.proto) for kind in kinds for element in app.get(kind))


def started(workspace: Workspace, app: AppTest) -> TrainConfig:
    """The config of the run that a click on the button makes."""
    app.button(key="start").click()
    ran(app)
    assert not app.error, [item.value for item in app.error]
    [job] = jobs.list_jobs(workspace, "train")
    return from_json(TrainConfig, read_json(job.folder / "config.json"))


def test_pictures_marked_bad_become_negative_examples_with_one_button(workspace: Workspace) -> None:
    finished_run(workspace, "20260101-lora", "lora", "asim, a cat")
    app = open_page(run="new")
    assert not [button for button in app.button if button.key == "add-negatives"], "LoRA takes none"
    app.session_state["train.method"] = "sam"
    ran(app)
    assert app.button(key="add-negatives").disabled

    mark(workspace, "runs/20260101-lora/samples/step-000020/00.png", "bad", "eyes")
    assert app.run().button(key="add-negatives").label == "Add the pictures marked bad (1)"
    app.button(key="add-negatives").click()
    ran(app)
    name = app.text_input(key="train.sam.negative_examples").value
    assert [image.caption for image in open_dataset(workspace, name).images()] == ["asim, a cat, negative eyes"]


def test_a_recipe_fills_the_form_in_and_may_be_changed(workspace: Workspace) -> None:
    app = open_page()
    app.selectbox(key="train.recipe").set_value("starter-sam")
    ran(app)
    assert app.number_input(key="train.loop.steps").value == 400
    app.number_input(key="train.sam.rank").set_value(3)
    config = started(workspace, ran(app))
    assert (config.method, config.loop.steps, config.method_options["rank"]) == ("sam", 400, 3)


def test_datasets_are_mixed(workspace: Workspace) -> None:
    app = open_page()
    app.multiselect(key="train.mix").set_value(["dogs"])
    ran(app)
    app.number_input(key="train.mix.dogs.repeats").set_value(5)
    app.toggle(key="train.mix.dogs.regularisation").set_value(True)
    config = started(workspace, ran(app))
    assert config.dataset == "cats" and [(one.dataset, one.repeats, one.regularisation) for one in config.mix] == [
        ("dogs", 5, True)
    ]


def test_an_identifier_of_several_tokens_is_refused_at_its_field(workspace: Workspace) -> None:
    app = open_page()
    app.session_state["train.method"] = "sam"
    app.session_state["train.sam.trigger"] = "zxqvy"
    ran(app)
    assert any("red" in item.value and "tokens to this model" in item.value for item in app.markdown)
    assert app.button(key="start").disabled


def test_what_this_machine_cannot_do_is_refused_at_its_field(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDSTUDIO_DEVICES", "cpu")
    app = open_page()
    app.session_state["train.loop.mixed_precision"] = "fp16"
    ran(app)
    assert any("red" in item.value and "fp16 needs a GPU" in item.value for item in app.markdown)
    assert app.button(key="start").disabled


def test_a_sweep_is_counted_then_started_and_lands_in_the_comparison(workspace: Workspace) -> None:
    app = open_page()
    vary = next(item for item in app.multiselect if item.label == "Settings to vary")
    vary.set_value(["method_options.rank", "loop.steps"])
    ran(app)
    app.text_input(key="train.sweep.method_options.rank").set_value("2, 4, 8")
    app.text_input(key="train.sweep.loop.steps").set_value("20, 40")
    ran(app)
    assert "3 × 2 = 6 runs" in said(app) and jobs.list_jobs(workspace) == []
    app.button(key="start-sweep").click()
    ran(app)
    [sweep] = list_sweeps(workspace)
    assert len(jobs.list_jobs(workspace, "train")) == 6 and app.query_params["sweep"] == sweep.id
    assert len(app.multiselect[0].value) == 6 and "6 runs have no checkpoint yet" in said(app)


def test_a_run_shows_its_curves_samples_and_best_checkpoint(workspace: Workspace) -> None:
    finished_run(workspace, "one", "first", HOSTILE)
    app = open_page(run="one")
    assert len(app.get("arrow_vega_lite_chart") + app.get("vega_lite_chart")) >= 4
    assert "a **bold** &lt;b&gt;face&lt;/b&gt;" in said(app) and "<b>face" not in said(app)
    chosen = app.selectbox(key="checkpoint-one")
    assert chosen.value.endswith("step-000010") and chosen.options[1].startswith("★ Step 10 · ")
    assert "validation loss 0.1250" in chosen.options[1]


def test_a_second_stage_begins_from_the_chosen_checkpoint(workspace: Workspace) -> None:
    finished_run(workspace, "one", "first", HOSTILE)
    app = open_page(run="one")
    app.button(key="onward-one").click()
    ran(app)
    assert app.query_params["run"] == "new"
    assert app.selectbox(key="train.init_checkpoint").value == "runs/one/checkpoints/step-000010"
    assert app.number_input(key="train.lora.rank").value == 2 and app.number_input(key="train.loop.steps").value == 20


def test_runs_are_compared_by_what_differs(workspace: Workspace) -> None:
    finished_run(workspace, "one", "first", HOSTILE)
    finished_run(workspace, "two", "second", HOSTILE, steps=40, rank=4)
    app = open_page(compare="one,two,gone")
    assert app.multiselect[0].value == ["one", "two"]
    [table] = app.table
    assert list(table.value["Rank"]) == ["2", "4"] and "Learning rate" not in table.value.columns
    assert list(table.value["Best validation loss"]) == ["0.1250", "0.1250"]
    [link] = [item.proto.query_string for item in app.get("page_link") if "checkpoints" in item.proto.query_string]
    assert "one" in link and "two" in link and "gone" not in link


@pytest.mark.slow
def test_what_the_model_will_see_comes_from_a_process_of_its_own(workspace: Workspace) -> None:
    app = open_page()
    app.button(key="show-seen").click()
    app.run(timeout=600)
    assert not app.exception and not app.error
    [seen] = (workspace.cache / "previews").glob("*/seen.json")
    shown = read_json(seen)
    captions = {image.caption for image in open_dataset(workspace, "cats").images()}
    assert len(shown) == 8 and {one["caption"] for one in shown} <= captions | {""}
    assert all(bool(one["tokens"]) == bool(one["caption"]) for one in shown)
    with Image.open(seen.parent / shown[0]["file"]) as picture:
        assert picture.size == (64, 64)
