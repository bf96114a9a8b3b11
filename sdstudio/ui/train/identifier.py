"""The identifier finder: rare words of one token, to be taken over into the trigger's field."""

import json
import os
import subprocess
import sys
from typing import Any

import streamlit as st

from sdstudio.schema import Method, UserError
from sdstudio.training.identifiers import check_identifier, rare_tokens
from sdstudio.ui.session import told
from sdstudio.ui.train.filling import PREFIX
from sdstudio.workspace import ENV_VAR, Workspace

FOUND = 24
PATIENCE = 600


def teaches_subject(method: Method) -> bool:
    """True for methods whose trigger is an identifier of DreamBooth's kind, beside a class word."""
    return hasattr(method.Options, "class_word")


def trigger_problem(workspace: Workspace, base_model: str, method: Method) -> dict[str, str]:
    """What is wrong with the identifier in the form's field, as `config_form` takes it."""
    typed = str(st.session_state.get(_key(method), "")).strip()
    if not typed or not teaches_subject(method):
        return {}
    try:
        check_identifier(workspace, base_model, typed)
    except UserError as error:
        return {"trigger": str(error)} if "token" in str(error) else {}
    return {}


def identifier_finder(workspace: Workspace, base_model: str, method: Method) -> None:
    """A list of rare words behind a small button; a click on one fills the trigger's field in."""
    with st.popover("Find an identifier", icon=":material/search:", key=f"find-{method.name}"):
        st.caption("Rare words that are one token to this model. Choose one, and put it into the captions.")
        with told():
            asked = f"{PREFIX}.identifiers.{base_model}"
            if asked in st.session_state:
                words = st.session_state[asked].split()
                st.caption("Those left here mean nothing to the model yet: no common word is near them.")
            else:
                words = [token.word for token in rare_tokens(workspace, base_model, FOUND, ask_encoder=False)]
            st.pills(
                "Words", words, key="identifier-pick", on_change=_take, args=(method,), label_visibility="collapsed"
            )
            if asked not in st.session_state and st.button(
                "Leave out those that mean something", icon=":material/psychology:", key="ask-encoder"
            ):
                with st.spinner("Asking the text encoder…"):
                    st.session_state[asked] = " ".join(token["word"] for token in _ask(workspace, base_model))
                st.rerun()


def _take(method: Method) -> None:
    if st.session_state["identifier-pick"]:
        st.session_state[_key(method)] = st.session_state["identifier-pick"]


def _key(method: Method) -> str:
    return f"{PREFIX}.{method.name}.trigger"


def _ask(workspace: Workspace, base_model: str) -> list[dict[str, Any]]:
    """`sdstudio identifiers` in a process of its own, for it loads the text encoder."""
    command = [sys.executable, "-m", "sdstudio", "identifiers", "--json", "--base-model", base_model]
    environment = {**os.environ, ENV_VAR: str(workspace.root)}
    try:
        done = subprocess.run(
            [*command, "--count", str(FOUND)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"The text encoder did not answer within {PATIENCE} seconds.") from error
    if done.returncode:
        raise UserError((done.stderr.strip().splitlines() or ["The process said nothing."])[-1])
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
