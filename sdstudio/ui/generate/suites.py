"""Prompt suites: the same prompts for every model, drawn as pictures or compared as an evaluation."""

from collections.abc import Mapping, Sequence

import streamlit as st

from sdstudio import jobs, registry, suites
from sdstudio.schema import (
    GenerateConfig,
    Metric,
    ModelRef,
    Protocol,
    SampleSettings,
    UserError,
    from_json,
    to_json,
)
from sdstudio.starter.examples import STARTER_SAMPLING
from sdstudio.suites import SUBJECT, Suite
from sdstudio.ui.evaluate import setting_up
from sdstudio.ui.forms import config_form
from sdstudio.ui.generate.fields import say_gone
from sdstudio.ui.generate.live import BATCH
from sdstudio.ui.models import models_to_ask
from sdstudio.ui.placement import placement_picker
from sdstudio.ui.session import page_file, put_in_address, told
from sdstudio.ui.tabs import want_tab
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace

KEY = "suites"
SHOWN = 300


def show(workspace: Workspace) -> None:
    """Choose a suite, a subject, models and seeds; draw it, or compare the models on it."""
    found, problems = suites.list_suites(workspace)
    for problem in problems:
        st.warning(literal(problem), icon=":material/warning:")
    suite = _choose(found)
    models = models_to_ask(workspace)
    with st.container(border=True):
        subject = _subject(suite)
        say_gone(f"{KEY}.models", models)
        chosen = st.multiselect(
            "Models",
            list(models),
            default=None if f"{KEY}.models" in st.session_state else _usual(models),
            format_func=lambda ref: models[ref].label,
            key=f"{KEY}.models",
            persist_state="session",
        )
        with st.grid(columns="auto", min_column_width=190):
            each = st.number_input(
                "Pictures per prompt", min_value=1, max_value=1000, value=4, key=f"{KEY}.each", persist_state="session"
            )
            first = st.number_input(
                "First seed", min_value=0, max_value=2**31 - 1, value=1, key=f"{KEY}.first", persist_state="session",
                help="The others follow it.",
            )  # fmt: skip
        with st.expander("How pictures are drawn", icon=":material/tune:"):
            settings = config_form(
                SampleSettings, key=f"{KEY}.settings", skip=("seed", "guidance"), defaults=to_json(STARTER_SAMPLING)
            )
        total = len(suite.prompts) * len(chosen) * int(each)
        st.caption(
            f"{count(len(suite.prompts), 'prompt')} × {count(len(chosen), 'model')} × {count(int(each), 'seed')}"
            f" = {count(total, 'picture')}"
        )
        placement = placement_picker(workspace, KEY)
        with st.container(horizontal=True):
            draw = st.button("Draw the pictures", type="primary", icon=":material/brush:", key=f"{KEY}.draw")
            compare = st.button(
                "Compare the models",
                icon=":material/analytics:",
                key=f"{KEY}.compare",
                help="Opens Evaluate with these prompts, seeds and models: there they get numbers too.",
            )
        seeds = list(range(int(first), int(first) + int(each)))
        with told():
            if draw:
                drawn = from_json(SampleSettings, {**settings, "seed": seeds[0]})
                config = GenerateConfig(
                    models=[models[ref] for ref in chosen],
                    prompts=suite.fill(subject),
                    count=len(seeds),
                    settings=drawn,
                )
                job = jobs.submit(workspace, "generate", config, suite.title, placement=placement)
                put_in_address(BATCH, job.id)
                want_tab("Ask")
                st.rerun()
            if compare:
                _compare(models, chosen, suite, subject, seeds, from_json(SampleSettings, settings))
    _own(workspace)


def _choose(found: Sequence[Suite]) -> Suite:
    by_name = {suite.name: suite for suite in found}
    name = st.selectbox(
        "Suite",
        list(by_name),
        format_func=lambda name: f"{by_name[name].title} · {count(len(by_name[name].prompts), 'prompt')}",
        key=f"{KEY}.suite",
        persist_state="session",
    )
    suite = by_name[name]
    if suite.source:
        st.caption(f"From {literal(suite.source)}")
    with st.expander("Its prompts", icon=":material/format_list_numbered:"):
        st.text("\n".join(suite.prompts[:SHOWN]))
        if suite.prompts[SHOWN:]:
            st.caption(f"The first {SHOWN} are shown.")
    return suite


def _subject(suite: Suite) -> str:
    """What stands in {subject}; empty for a suite without it."""
    if not suite.wants_subject:
        return ""
    return st.text_input(
        "Subject",
        key=f"{KEY}.subject",
        persist_state="session",
        placeholder=suite.subject or "the words that call what the models learned",
        help=f"It takes the place of {literal(SUBJECT)} in every prompt.",
    )


def _usual(models: Mapping[str, ModelRef]) -> list[str]:
    """The starter and the newest trained model."""
    trained = next((ref for ref in models if models[ref].checkpoint), "")
    return [ref for ref in (next(iter(models)), trained) if ref]


def _compare(
    models: Mapping[str, ModelRef],
    chosen: Sequence[str],
    suite: Suite,
    subject: str,
    seeds: list[int],
    settings: SampleSettings,
) -> None:
    """Open Evaluate with a protocol of this suite: its prompts call each model by its own trigger, or by `subject`."""
    trained = [ref for ref in chosen if models[ref].checkpoint]
    if not trained:
        raise UserError("There is nothing to compare with its base model: choose a trained model.")
    metrics: Mapping[str, Metric] = registry.load("sdstudio.metrics")
    usual = [name for name in Protocol().metrics if set(metrics[name].needs) <= {"prompts"}]
    setting_up.fill(
        Protocol(
            name=suite.title,
            prompts=suite.fill(subject or setting_up.TRIGGER),
            drift_prompts=[],
            seeds=seeds,
            metrics=usual,
            settings=settings,
        )
    )
    want_tab("Compare")
    st.switch_page(page_file("evaluate"), query_params={"table": "new", "model": ",".join(trained)})


def _own(workspace: Workspace) -> None:
    """A file of one's own, checked and kept in the workspace."""
    with st.expander("A suite of your own", icon=":material/upload_file:"):
        st.markdown(
            f"A text file with a prompt a line, or a CSV file with a column `prompt`. `{SUBJECT}` stands for what a "
            "model learned. Lines such as `# title: My suite` at the top give it a name."
        )
        file = st.file_uploader("Suite", type=["txt", "csv"], key=f"{KEY}.file", label_visibility="collapsed")
        if file is not None and st.button("Keep it", icon=":material/save:", key=f"{KEY}.keep"):
            with told():
                added = suites.add(workspace, file.name, file.getvalue())
                st.success(f"“{literal(added.title)}” is in the list: {count(len(added.prompts), 'prompt')}.")
