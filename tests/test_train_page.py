"""The Train page and the forms it is made of: pytest tests/test_train_page.py"""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from sdstudio.schema import STRICT, option


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
