"""Send a dataset to the Hugging Face Hub: listed first, private unless said otherwise, the token kept nowhere."""

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.push import PushPlan, plan_push
from sdstudio.schema import PushConfig, from_json
from sdstudio.ui.annotate.jobs_view import start
from sdstudio.ui.forms import config_form
from sdstudio.ui.hub_token import secrets_of, token_form
from sdstudio.ui.session import told
from sdstudio.ui.text import count, literal, size
from sdstudio.workspace import Workspace

SHOWN = 100


@st.dialog("Push to the Hugging Face Hub", width="medium")
def push(workspace: Workspace, store: DatasetStore) -> None:
    show_form(workspace, store)


def show_form(workspace: Workspace, store: DatasetStore) -> None:
    values = config_form(PushConfig, key=f"push.{store.name}", skip={"dataset"}, defaults={"repository": store.name})
    with told():
        config = from_json(PushConfig, {**values, "dataset": store.name})
        show_plan(plan_push(workspace, config))
        help = "The token needs write access; without one here, that of this machine's login is taken."
        token = token_form("Push", help, key="push", icon=":material/cloud_upload:")
        if token is not None:
            start(workspace, "push", config, f"Push {store.name} to the Hub", secrets_of(token))


def show_plan(plan: PushPlan) -> None:
    """The dry run: every file that would be sent, and the card."""
    seen = "only its owner sees it" if plan.private else "**everybody sees it**"
    st.markdown(
        f"{count(plan.pictures, 'picture')} with captions go to `{plan.repository}`, {size(plan.size)} in "
        f"{count(len(plan.files), 'file')}; {seen}."
    )
    with st.expander("What will be sent", icon=":material/list:"):
        for file in plan.files[:SHOWN]:
            st.text(f"{file.path}  ·  {size(file.size)}")
        if len(plan.files) > SHOWN:
            st.caption(f"and {len(plan.files) - SHOWN:,} more")
        st.caption(literal("The card, README.md:"))
        st.code(plan.card, language=None, wrap_lines=True)
