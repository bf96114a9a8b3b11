"""The form filled in from a picture: all that it was made with, or that and other seeds."""

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from sdstudio import registry
from sdstudio.schema import GenerateConfig, GeneratedImage, Guidance, ModelRef, UserError, to_json
from sdstudio.ui.forms import fill_form
from sdstudio.ui.generate.live import BATCH, hub_of
from sdstudio.ui.generate.start import begin_from
from sdstudio.ui.models import models_to_ask
from sdstudio.ui.session import put_in_address
from sdstudio.ui.tabs import want_tab
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

KEY = "generate"
MORE = 4
"""Pictures that 'more like this' asks for."""


def model_key(workspace: Workspace, ref: ModelRef) -> str:
    """What the model is called in the list of models; '' when it is not there any more."""
    wanted = ref.checkpoint or f"base:{ref.base_model}"
    return wanted if wanted in models_to_ask(workspace) else ""


def fill_from(workspace: Workspace, image: GeneratedImage) -> None:
    """Set the form to what made this picture; for callbacks."""
    settings = to_json(image.settings)
    fill_form(GenerateConfig, KEY, {"prompts": [image.prompt], "settings": settings, "count": 1})
    guidances: Mapping[str, Guidance] = registry.load("sdstudio.guidance")
    chosen = image.settings.guidance
    if chosen in guidances:
        st.session_state[f"{KEY}.guidance"] = chosen
        fill_form(guidances[chosen].Options, f"{KEY}.{chosen}", image.settings.guidance_options)
    model = model_key(workspace, image.model)
    if model:
        st.session_state[f"{KEY}.models"] = [model]
        st.session_state[f"{KEY}.weight.{model}"] = image.model.weight
    st.session_state[f"{KEY}.extras"] = [extra.checkpoint for extra in image.model.extras]
    for extra in image.model.extras:
        st.session_state[f"{KEY}.weight.{extra.checkpoint}"] = extra.weight
    begin_from(workspace, KEY, image.start)
    want_tab("Ask")


def more_like(workspace: Workspace, image: GeneratedImage) -> None:
    """Ask for the next seeds under the same settings; for callbacks."""
    settings = replace(image.settings, seed=image.seed + 1)
    config = GenerateConfig(
        models=[image.model], prompts=[image.prompt], count=MORE, settings=settings, start=image.start
    )
    try:
        batch = hub_of(workspace).ask(config)
    except UserError as error:
        st.toast(literal(str(error)), icon=":material/error:")
        return
    put_in_address(BATCH, batch.id)
    want_tab("Ask")
