"""A picture in the browser that a mask is painted on."""

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import streamlit as st

from sdstudio.schema import UserError

MOST = 10_000_000
_PNG = "data:image/png;base64,"
_HERE = Path(__file__).parent / "components"
_component = st.components.v2.component(
    "sdstudio_mask_canvas",
    html='<div class="mask"></div>',
    css=(_HERE / "mask_canvas.css").read_text(encoding="utf-8"),
    js=(_HERE / "mask_canvas.js").read_text(encoding="utf-8"),
)


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
