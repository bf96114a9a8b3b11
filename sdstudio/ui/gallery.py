"""A grid of pictures that the browser loads by address; captions are shown as text, never as Markdown or HTML."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import streamlit as st

from sdstudio.ui.component import component

_component = component("gallery", html='<div class="gallery"></div>')


@dataclass(frozen=True)
class Item:
    """One picture: `id` comes back on a click, `text` None hides the line, `done` marks the note as good."""

    id: str
    src: str
    text: str | None = None
    note: str = ""
    done: bool = False
    current: bool = False


def gallery(
    items: Sequence[Item],
    key: str,
    on_open: Callable[[str], None] | None = None,
    cell: float = 9.0,
    one_row: bool = False,
    on_select: Callable[[list[str]], None] | None = None,
    selected: Sequence[str] = (),
    revision: str = "",
    on_more: Callable[[], None] | None = None,
) -> None:
    """Draw `items` in cells at least `cell` rem wide; `on_open(id)` runs before the page's next run.

    With `one_row` only as many are shown as fit beside each other. With `on_select(ids)` each picture can be chosen;
    `selected` counts at first and whenever `revision` is another one, else the browser's own choice does.
    `on_more()` runs when the last picture comes near the window: further items can then be put behind these.
    """

    def opened() -> None:
        image_id = st.session_state[key].get("open")
        if on_open is not None and image_id:
            on_open(image_id)

    def chosen() -> None:
        if on_select is not None:
            on_select(list(st.session_state[key].get("selected") or []))

    def wanted_more() -> None:
        if on_more is not None and st.session_state[key].get("more") == len(items):
            on_more()

    data = {
        "items": [asdict(item) for item in items],
        "clickable": on_open is not None,
        "cell": cell,
        "one_row": one_row,
        "selected": list(selected) if on_select is not None else None,
        "revision": revision,
        "more": on_more is not None,
    }
    _component(key=key, data=data, on_open_change=opened, on_selected_change=chosen, on_more_change=wanted_more)
