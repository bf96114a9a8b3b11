"""The Hugging Face token of one job: asked for where it is needed, kept nowhere."""

import os

import streamlit as st

from sdstudio.hub import TOKEN_VAR


def token_field(help: str) -> str:
    """A password field that no session state keeps under a name; it is gone with its dialog.

    It is sent while it is typed: Streamlit would forget it when Tab moves on to the eye that shows the password.
    """
    return st.text_input(
        "Token",
        type="password",
        autocomplete="off",
        live="300ms",
        help=help,
        placeholder="From the environment" if os.environ.get(TOKEN_VAR) else "hf_…",
    ).strip()


def secrets_of(token: str) -> dict[str, str]:
    return {TOKEN_VAR: token} if token else {}
