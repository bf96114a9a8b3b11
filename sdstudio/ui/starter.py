"""The starter's examples, drawn once in a thread of their own, so that no page waits for them."""

import threading

import streamlit as st

from sdstudio.starter import examples
from sdstudio.workspace import Workspace


class _Installation:
    """One attempt at drawing the examples of one workspace; no thread where none is missing."""

    def __init__(self, workspace: Workspace) -> None:
        self.error = ""
        self._thread = threading.Thread(target=self._install, args=(workspace,), name="starter-examples", daemon=True)
        if examples.missing(workspace):
            self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _install(self, workspace: Workspace) -> None:
        try:
            examples.install(workspace)
        except Exception as error:  # shown on the page: a thread has nobody above it
            self.error = f"The example datasets could not be drawn: {error}"


@st.cache_resource(show_spinner=False)
def _installation(root: str, _workspace: Workspace) -> _Installation:
    return _Installation(_workspace)


def begin(workspace: Workspace) -> None:
    """Start drawing the examples of this workspace unless that was done since the server started."""
    _installation(str(workspace.root), workspace)


def is_drawing(workspace: Workspace) -> bool:
    return _installation(str(workspace.root), workspace).is_running


def problem(workspace: Workspace) -> str:
    """Why the examples could not be drawn; empty when they could."""
    return _installation(str(workspace.root), workspace).error
