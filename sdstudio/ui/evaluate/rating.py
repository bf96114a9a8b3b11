"""The tab Rating room: people judge pictures without knowing the model, and see what follows once they have ended."""

from dataclasses import asdict
from typing import Any

import streamlit as st

from sdstudio.ratings import store
from sdstudio.ratings.deck import dealt, shared_cells, size
from sdstudio.results import read_evaluation
from sdstudio.schema import Job, UserError, from_json
from sdstudio.ui.evaluate.looking import choose_comparison
from sdstudio.ui.evaluate.rated import show_results
from sdstudio.ui.rating_room import Message, rating_room, title
from sdstudio.ui.session import in_address, put_in_address, told
from sdstudio.ui.text import ago, count, literal
from sdstudio.workspace import Workspace

ANSWER = "rating-answer"
SESSION = "rating"
SECONDS_EACH = {"defect": 2, "preference": 4}
REPEATS = 0.1
KINDS: dict[store.Kind, str] = {"defect": "Does a picture have a defect?", "preference": "Which of two is better?"}


def show(workspace: Workspace) -> None:
    job = choose_comparison(
        workspace, "There is nothing to rate yet: compare models first.", ":material/thumbs_up_down:"
    )
    if job is None:
        return
    with told():
        known = {session.id: session for session in store.read(job.folder).sessions}
        session = known.get(in_address(SESSION))
        if session is None:
            begin(job)
        elif session.ended:
            show_ended(job, session)
        else:
            show_room(job, session.id)


# ---------------------------------------------------------------- before


def begin(job: Job) -> None:
    """The sessions there are, and a form for a new one."""
    rows = read_evaluation(job.folder).rows
    show_sessions(job)
    st.subheader("Rate pictures")
    st.markdown(
        "You see the pictures of all models in a random order and are not told which model drew which. "
        "Some come again, to see how steady you are.",
        width=720,
    )
    kind = st.segmented_control(
        "Question", list(KINDS), default="defect", format_func=KINDS.__getitem__, key="rating.kind", required=True
    )
    if kind == "preference" and len(rows) < 2:
        st.info("This comparison has one model: there is nothing to put beside it.", icon=":material/info:")
        return
    with st.grid(columns=2, min_column_width=260):
        what = ask_for_defect() if kind == "defect" else ""
        with st.container():
            rater = st.text_input("Your name", key="rating.rater", persist_state="session", max_chars=store.LONGEST)
        with st.container():
            there = len(shared_cells(rows))
            per_model = st.number_input(
                "Pictures of each model",
                min_value=1,
                max_value=there,
                value=there,
                key=f"rating.per-model-{job.id}",
                help="The same prompts and seeds of every model, evenly over the prompts.",
            )
    tasks = size(rows, kind, int(per_model)) * (1 + REPEATS)
    least = max(1, round(tasks * SECONDS_EACH[kind] / 60))
    st.caption(f"About {count(round(tasks), 'answer')}, some {count(least, 'minute')}. You can pause at any time.")
    if st.button("Begin", type="primary", icon=":material/visibility:", key="rating.begin"):
        with told():
            put_in_address(SESSION, store.start(job.folder, rater, kind, what, int(per_model), REPEATS))
            st.rerun()


def ask_for_defect() -> str:
    with st.container():
        return st.text_input(
            "Defect",
            value=store.CROSSED_EYES,
            key="rating.what",
            max_chars=store.LONGEST,
            help="What to look for: crossed eyes, six fingers, burnt colours. Give it the same name every time.",
        )


def show_sessions(job: Job) -> None:
    """Who has rated what, each with a button to go on or to see what came of it."""
    sessions = store.read(job.folder).sessions
    for session in sessions:
        with st.container(horizontal=True, vertical_alignment="center", border=True, key=f"rating-{session.id}"):
            tasks = dealt(job.folder, session.id)
            st.markdown(
                f"**{literal(session.rater)}** · {literal(title(session.kind, session.what))} · "
                f"{len(session.answers)} of {len(tasks)} · {ago(session.started)}",
                width="stretch",
            )
            label, icon = ("See the results", "bar_chart") if session.ended else ("Go on", "play_arrow")
            help = "Look only after you have rated: your own eye is blind once." if session.ended else None
            if st.button(label, icon=f":material/{icon}:", key=f"open-{session.id}", help=help):
                put_in_address(SESSION, session.id)
                st.rerun()


# ---------------------------------------------------------------- while it goes on


@st.fragment
def show_room(job: Job, session_id: str) -> None:
    """The pictures; an answer runs this alone again."""
    session = store.read(job.folder).session(session_id)

    def received(payload: dict[str, Any]) -> None:
        message = from_json(Message, payload)
        st.session_state[ANSWER] = {"number": message.number, "error": take(job, message)}

    if session.ended or in_address(SESSION) != session_id:
        st.rerun(scope="app")
    rating_room(job.id, session, dealt(job.folder, session_id), st.session_state.get(ANSWER), received)
    st.caption(
        f"You rate as {literal(session.rater)}. Every answer is kept at once: you can close the page and go on later."
    )


def show_ended(job: Job, session: store.Session) -> None:
    if st.button("All sessions", icon=":material/arrow_back:", key="rating.back"):
        put_in_address(SESSION, "")
        st.rerun()
    show_results(job, session.kind, session.what)


def take(job: Job, message: Message) -> str:
    """Do what the browser asks; what went wrong in words, or nothing."""
    tasks = {task.id: task for task in dealt(job.folder, message.session)}
    try:
        presses = [
            store.Press(**asdict(press), pictures=tasks[press.task].pictures if press.task in tasks else ())
            for press in message.presses
        ]
        store.add(job.folder, message.session, presses)
    except UserError as error:
        return str(error)
    if message.ask == "end":
        store.end(job.folder, message.session)
    elif message.ask == "pause":
        put_in_address(SESSION, "")
    return ""
