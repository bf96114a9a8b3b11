"""How the prompt steers the picture: a choice of guidance, with the options that only it has."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from sdstudio import registry
from sdstudio.schema import Guidance
from sdstudio.ui.forms import config_form
from sdstudio.ui.text import literal


def guidance_picker(key: str) -> dict[str, Any]:
    """The fields `guidance` and `guidance_options` of SampleSettings."""
    records: Mapping[str, Guidance] = registry.load("sdstudio.guidance")
    name = st.segmented_control(
        "Guidance",
        sorted(records, key=lambda name: name != "plain"),
        format_func=lambda name: records[name].label,
        default="plain",
        required=True,
        key=f"{key}.guidance",
        persist_state="session",
    )
    chosen = records[name]
    st.caption(literal(chosen.summary))
    options = config_form(chosen.Options, key=f"{key}.{name}", advanced_label=f"More settings of {chosen.label}")
    return {"guidance": name, "guidance_options": options}
