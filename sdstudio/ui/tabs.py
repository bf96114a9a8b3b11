"""A page's tabs, of which only the open one is drawn."""

from collections.abc import Callable, Mapping

import streamlit as st

from sdstudio.workspace import Workspace

KEY = "view"
"""The tabs in the session, and the open one in the address."""
_WANTED = f"{KEY}.wanted"


def want_tab(name: str) -> None:
    """Let the page that is drawn next open this tab: while a page's tabs stand, the address cannot name another."""
    st.session_state[_WANTED] = name


def show_tabs(tabs: Mapping[str, Callable[[Workspace], None]], workspace: Workspace) -> None:
    """The tabs by their names, and what the open one shows."""
    wanted = st.session_state.pop(_WANTED, "")
    if wanted:
        st.session_state[KEY] = wanted
    for tab, show in zip(st.tabs(list(tabs), key=KEY, bind="query-params"), tabs.values(), strict=True):
        if tab.open:
            with tab:
                show(workspace)
