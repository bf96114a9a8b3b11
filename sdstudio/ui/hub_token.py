"""The Hugging Face token of one job: asked for where it is needed, kept nowhere."""

import os

import streamlit as st

from sdstudio.hub import TOKEN_VAR


def token_form(button: str, help: str, key: str, icon: str | None = None) -> str | None:
    """A password field and the button that uses it: the token, perhaps '', in the run after its press, else None.

    No session state keeps the token under a name; it is gone with its dialog. Both are one form, for outside of one
    Streamlit loses what was typed last when Tab moves on to the eye that shows the password.
    """
    with st.form(f"{key}-form", border=False):
        token = st.text_input(
            "Token",
            type="password",
            autocomplete="off",
            help=help,
            placeholder="From the environment" if os.environ.get(TOKEN_VAR) else "hf_…",
        )
        pressed = st.form_submit_button(button, type="primary", icon=icon, key=key)
    return token.strip() if pressed else None


def secrets_of(token: str) -> dict[str, str]:
    return {TOKEN_VAR: token} if token else {}
