"""Pickers of models: base models, and base models with what a run has learned on them."""

from collections.abc import Mapping

import streamlit as st

from sdstudio import jobs
from sdstudio.models import FoundCheckpoint, list_base_models, list_checkpoints
from sdstudio.schema import ModelRef
from sdstudio.workspace import Workspace


def base_model_picker(workspace: Workspace, key: str) -> str:
    """A picker over the base models found here, which also takes a typed path or Hub id; returns the reference."""
    labels = {model.ref: model.label for model in list_base_models(workspace)}
    chosen = st.selectbox(
        "Base model",
        list(labels),
        format_func=lambda ref: labels.get(ref, ref),
        accept_new_options=True,
        key=key,
        persist_state="session",
        help="Choose one, or type the path of a diffusers folder or .safetensors file, or a Hub id such as owner/name.",
    )
    by_label = {label: ref for ref, label in labels.items()}
    return by_label.get(chosen, chosen or "")


def models_to_ask(workspace: Workspace) -> dict[str, ModelRef]:
    """Every model that can draw, by a name that stays the same: base models first, then checkpoints, newest first."""
    bases = {
        f"base:{model.ref}": ModelRef(base_model=model.ref, label=model.label) for model in list_base_models(workspace)
    }
    return bases | trained_models(workspace)


def trained_models(workspace: Workspace) -> dict[str, ModelRef]:
    """Every checkpoint by its reference, newest run first; its label is the run's title and the step."""
    titles = {job.id: job.title for job in jobs.list_jobs(workspace, "train")}
    return {found.ref: _trained(found, titles) for found in list_checkpoints(workspace)}


def _trained(found: FoundCheckpoint, titles: Mapping[str, str]) -> ModelRef:
    title = titles.get(found.run) or found.run
    return ModelRef(base_model=found.checkpoint.base_model, checkpoint=found.ref, label=f"{title}, step {found.step}")
