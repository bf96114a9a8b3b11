"""Ask models for pictures and watch them form: a handful at once here, more as a job."""

from typing import Any

import streamlit as st

from sdstudio import collection, jobs, registry
from sdstudio.interactive import HANDFUL, pictures_asked
from sdstudio.schema import GenerateConfig, UserError, from_json, to_json
from sdstudio.schema.samplers import OWN, SAMPLER_NAMES, sampler_label
from sdstudio.ui.forms import config_form
from sdstudio.ui.generate.fields import KEY, choose_models, negative_field, prompt_field, show_problem
from sdstudio.ui.generate.large import show_picture, undo_delete
from sdstudio.ui.generate.live import BATCH, OPENED, hub_of, show_batches
from sdstudio.ui.generate.reading import drop_picture
from sdstudio.ui.generate.start import start_picker
from sdstudio.ui.guidance import guidance_picker
from sdstudio.ui.session import put_in_address, told
from sdstudio.ui.text import count
from sdstudio.workspace import Workspace

ELSEWHERE = (
    "models",
    "prompts",
    "start",
    "settings.negative_prompt",
    "settings.guidance",
    "settings.scheduler",
)
"""Fields that have a place of their own in the form."""


def show(workspace: Workspace) -> None:
    """The form, and below it the batch that is being looked at."""
    opened = st.session_state.pop(OPENED, "")
    show_form(workspace)
    undo_delete(workspace)
    show_batches(workspace)
    if opened:
        with told():
            show_picture(workspace, workspace.root / opened, collection.record(workspace, opened))


def show_form(workspace: Workspace) -> None:
    with st.container(border=True):
        drop_picture(workspace)
        with st.container():  # what comes and goes in these moves no field below, where somebody may be typing
            models = choose_models(workspace)
            prompts = prompt_field(workspace, models)
            negative = negative_field(workspace, models)
        settings = config_form(GenerateConfig, key=KEY, skip=ELSEWHERE)
        with st.container(horizontal=True, vertical_alignment="top", gap="medium"):
            scheduler = _sampler_picker()
            with st.container():
                guidance = guidance_picker(KEY)
        _check_guidance(guidance, prompts)
        start = start_picker(workspace, KEY)
        settings["start"] = to_json(start) if start else None
        settings["settings"] |= {"negative_prompt": negative, "scheduler": scheduler, **guidance}
        settings |= {"models": [to_json(model) for model in models], "prompts": prompts}
        _submit(workspace, settings)


def _sampler_picker() -> str:
    key = f"{KEY}.settings.scheduler"
    st.session_state.setdefault(key, OWN)
    return st.selectbox(
        "Sampler",
        SAMPLER_NAMES,
        format_func=lambda name: "The model's own" if name == OWN else sampler_label(name),
        key=key,
        persist_state="session",
        width=240,
    )


def _check_guidance(guidance: dict[str, Any], prompts: list[str]) -> None:
    """What the chosen guidance cannot do with a prompt, under it; plain syntax is said at the prompt."""
    record = registry.load("sdstudio.guidance")[guidance["guidance"]]
    if record.name == "plain":
        return
    try:
        options = from_json(record.Options, guidance["guidance_options"])
        for prompt in prompts:
            record.check(prompt, options)
    except UserError as error:
        show_problem(str(error))


def _submit(workspace: Workspace, settings: dict[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Generate", type="primary", icon=":material/brush:", key="generate")
        asked = len(settings["models"]) * len(settings["prompts"]) * settings["count"]
        st.caption(count(asked, "picture") + (": a job of its own" if asked > HANDFUL else ""))
    if not pressed:
        return
    with told():
        config = from_json(GenerateConfig, settings)
        if pictures_asked(config) > HANDFUL:
            batch = jobs.submit(workspace, "generate", config, config.prompts[0][:60]).id
        else:
            batch = hub_of(workspace).ask(config).id
        put_in_address(BATCH, batch)
        st.rerun()
