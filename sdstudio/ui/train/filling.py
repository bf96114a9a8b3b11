"""The form of a new run filled in from a whole config: a preset's, an earlier run's, another program's."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from sdstudio import registry
from sdstudio.options import flatten
from sdstudio.schema import LoopConfig
from sdstudio.ui.forms import fill_form

PREFIX = "train"
WHOLE = ("name", "dataset", "base_model", "init_checkpoint", "repeats", "method")


def fill(config: Mapping[str, Any]) -> None:
    """Set the fields that `config`, a TrainConfig as JSON or a part of one, has. For callbacks."""
    for name in WHOLE:
        if name in config:
            st.session_state[f"{PREFIX}.{name}"] = config[name]
    if "mix" in config:
        fill_mix(config["mix"])
    method = registry.load("sdstudio.methods").get(config.get("method", ""))
    if method and "method_options" in config:
        fill_form(method.Options, f"{PREFIX}.{method.name}", config["method_options"])
    if "loop" in config:
        fill_form(LoopConfig, f"{PREFIX}.loop", config["loop"])


def fill_mix(mix: list[Mapping[str, Any]]) -> None:
    """Set the fields of the further datasets."""
    st.session_state[f"{PREFIX}.mix"] = [item["dataset"] for item in mix]
    for item in mix:
        for name, value in flatten(item).items():
            st.session_state[f"{PREFIX}.mix.{item['dataset']}.{name}"] = value
