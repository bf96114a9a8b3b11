"""Inline components, each put together from the files of `components/` that bear its name."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

_FOLDER = Path(__file__).parent / "components"


def component(name: str, html: str = "", styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> Callable[..., Any]:
    """The component of this name: its `.html` file where no `html` is given, its `.css` and its `.js`.

    `styles` and `scripts` are the stems of files that come before its own.
    """
    return st.components.v2.component(
        f"sdstudio_{name}",
        html=html or _read(f"{name}.html"),
        css="\n".join(_read(f"{stem}.css") for stem in (*styles, name)),
        js="\n".join(_read(f"{stem}.js") for stem in (*scripts, name)),
    )


def _read(file: str) -> str:
    return (_FOLDER / file).read_text(encoding="utf-8")
