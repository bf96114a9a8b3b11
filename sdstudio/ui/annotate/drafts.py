"""Drafts from a captioner: which one, with which options, for which pictures."""

import streamlit as st

from sdstudio import registry
from sdstudio.datasets import DatasetStore
from sdstudio.schema import CaptionConfig
from sdstudio.ui.annotate.jobs_view import start
from sdstudio.ui.forms import config_form
from sdstudio.ui.session import told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace


@st.dialog("Draft captions", width="medium")
def draft_captions(workspace: Workspace, store: DatasetStore) -> None:
    captioners = registry.load("sdstudio.captioners")
    if not captioners:
        st.info("No captioner is installed.")
        return
    name = st.selectbox("Captioner", list(captioners), format_func=lambda key: captioners[key].label, key="captioner")
    st.caption(literal(captioners[name].summary))
    options = config_form(captioners[name].Options, key=f"captioner.{name}")
    only_empty = st.toggle(
        "Only pictures without a caption",
        value=True,
        help="A caption that a person wrote is never overwritten either way.",
    )
    if st.button("Start drafting", type="primary", key="draft", icon=":material/play_arrow:"):
        with told():
            config = CaptionConfig(dataset=store.name, captioner=name, options=options, only_empty=only_empty)
            start(workspace, "caption", config, f"Draft captions for {store.name}")
