"""A picture in the browser that a mask is painted on."""

from base64 import b64decode
from collections.abc import Callable

import streamlit as st

from sdstudio.schema import UserError
from sdstudio.ui.component import component

MOST = 10_000_000
_PNG = "data:image/png;base64,"
_component = component("mask_canvas", html='<div class="mask"></div>')


def mask_canvas(src: str, key: str, on_paint: Callable[[bytes], None], base: str = "") -> None:
    """Show the picture at `src`; `on_paint(png)` runs after each stroke, with nothing where none is left.

    `base` is the address of a mask that was painted before, to go on from.
    """

    def painted() -> None:
        on_paint(_decoded(st.session_state[key].get("mask") or ""))

    _component(key=key, data={"src": src, "base": base}, on_mask_change=painted)


def _decoded(address: str) -> bytes:
    if not address:
        return b""
    if not address.startswith(_PNG) or len(address) > MOST:
        raise UserError("The painted mask did not come through: paint it again.")
    return b64decode(address.removeprefix(_PNG))
