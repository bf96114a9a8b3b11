"""The pictures to rate with a key for each answer: one inline component whose own script takes the presses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from sdstudio.ratings.deck import BESIDE, Task
from sdstudio.ratings.store import CROSSED_EYES, Session
from sdstudio.schema import STRICT
from sdstudio.ui.component import component
from sdstudio.ui.files import rated_url

WINDOW = 240
"""Tasks that the browser knows ahead: more than anybody answers during one message."""

_component = component("rating_room", styles=("controls",))


@dataclass(frozen=True, kw_only=True)
class Pressed:
    """One press as the browser tells it."""

    __pydantic_config__ = STRICT
    id: str
    task: str
    answer: str
    undoes: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """The presses since the last message, and 'pause' or 'end' once all of them are on disk."""

    __pydantic_config__ = STRICT
    session: str
    number: int
    presses: list[Pressed] = field(default_factory=list)
    ask: str = ""


def rating_room(
    evaluation: str,
    session: Session,
    tasks: list[Task],
    answer: dict[str, Any] | None,
    on_message: Callable[[dict[str, Any]], None],
    key: str = "rating-room",
) -> None:
    """Show what is left of `tasks`; `on_message` gets every message before the page's next run.

    `answer` is what became of the last one: its number, and an error or nothing.
    """

    def received() -> None:
        message = st.session_state[key].get("action")
        if message:
            on_message(message)

    said = {given.task for given in session.answers}
    last = session.answers[-1] if session.answers else None
    data = {
        "session": session.id,
        "question": question(session.kind, session.what),
        "answers": [dict(zip(("key", "answer", "label"), one, strict=True)) for one in answers(session)],
        "beside": BESIDE[session.kind],
        "pictures": rated_url(evaluation, session.id),
        "total": len(tasks),
        "answered": len(said),
        "upcoming": [task.id for task in tasks if task.id not in said][:WINDOW],
        "last": last and {"id": last.press, "task": last.task},
        "answer": answer,
    }
    _component(key=key, data=data, on_action_change=received, on_mounted_change=lambda: None)


def question(kind: str, what: str) -> str:
    """The question as a rater reads it."""
    if kind == "preference":
        return "Which picture is better?"
    return "Are the eyes crossed?" if what == CROSSED_EYES else f"Do you see this: {what}?"


def answers(session: Session) -> tuple[tuple[str, str, str], ...]:
    """(key, answer, label) of each choice."""
    if session.kind == "preference":
        return ("1", "first", "Left"), ("2", "second", "Right"), ("0", "tie", "No difference")
    absent = "No face" if session.what == CROSSED_EYES else "Nothing to judge"
    return ("1", "yes", "Yes"), ("2", "no", "No"), ("0", "absent", absent)


def title(kind: str, what: str) -> str:
    """The question in a list."""
    return "preference" if kind == "preference" else what
