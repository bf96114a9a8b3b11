"""A dataset's own choices: the word every caption should hold, the template, the tokenizer."""

from dataclasses import fields

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.settings import DatasetSettings
from sdstudio.schema import to_json
from sdstudio.ui.forms import config_form
from sdstudio.ui.session import told
from sdstudio.workspace import Workspace


@st.dialog("Settings", width="medium")
def change_settings(workspace: Workspace, store: DatasetStore) -> None:
    current = store.settings()
    help = {field.name: field.metadata["help"] for field in fields(DatasetSettings)}
    values = {
        "identifier": st.text_input("Identifier", current.identifier, help=help["identifier"]).strip(),
        "template": st.text_area("Template", current.template, help=help["template"]).strip(),
        **config_form(
            DatasetSettings,
            f"settings.{store.name}",
            skip={"identifier", "template", "fit"},
            defaults=to_json(current),
        ),
    }
    if st.button("Save", key="save-settings", type="primary"):
        with told():
            store.change_settings(values)
            st.rerun()
