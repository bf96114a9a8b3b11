"""What people answered, in `ratings.jsonl` of a comparison's folder: lines are added and never changed.

An answer is taken back by a further line, and a press that arrives twice, or from a second tab, counts once.
"""

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from sdstudio.schema import UserError
from sdstudio.words import count
from sdstudio.workspace import append_json, new_id, read_json_lines

RATINGS_FILE = "ratings.jsonl"
CROSSED_EYES = "crossed eyes"
LONGEST = 60
Kind = Literal["defect", "preference"]
ANSWERS: dict[Kind, tuple[str, ...]] = {"defect": ("yes", "no", "absent"), "preference": ("first", "second", "tie")}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One picture, or two beside each other, and what was said of it; `press` names the key press."""

    press: str
    task: str
    pictures: tuple[str, ...]
    answer: str
    time: float


@dataclass(frozen=True, kw_only=True)
class Session:
    """One rater's pass through one question; `answers` are those in force, in the order in which they were given.

    `what` is the defect that is looked for, empty for a preference. `seed` shuffles, `per_model` pictures of each model
    are shown (0: all), and the share `repeats` of them a second time. `ended` is None while it goes on.
    """

    id: str
    rater: str
    kind: Kind
    what: str
    seed: int
    per_model: int
    repeats: float
    started: float
    ended: float | None = None
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """All sessions of a comparison, oldest first."""

    sessions: tuple[Session, ...] = ()

    def session(self, id: str) -> Session:
        """The session of that id; a UserError where there is none."""
        for session in self.sessions:
            if session.id == id:
                return session
        raise UserError("There is no such rating session: open the rating room again.")

    def ended(self, kind: Kind, what: str = "") -> list[Session]:
        """The sessions of a question that are over: only they count, so that nobody sees how their own answers move."""
        return [session for session in self.sessions if session.ended and (session.kind, session.what) == (kind, what)]


@dataclass(frozen=True, kw_only=True)
class Press:
    """One key press: an `answer` to a `task` and its `pictures`, or with `undoes` another press taken back."""

    id: str
    task: str = ""
    pictures: tuple[str, ...] = ()
    answer: str = ""
    undoes: str = ""


@dataclass
class _Open:
    """A session while its lines are read."""

    start: dict[str, Any]
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    ended: float | None = None

    def take(self, line: Mapping[str, Any]) -> bool:
        """Apply a new press; False where its task is answered already, or what it undoes is not in force."""
        if line.get("undoes"):
            changes = self.answers.pop(line["undoes"], None) is not None
        else:
            changes = all(answer.task != line["task"] for answer in self.answers.values())
            if changes:
                values = {key: line[key] for key in ("press", "task", "answer", "time")}
                self.answers[line["press"]] = Answer(**values, pictures=tuple(line["pictures"]))
        self.seen.add(line["press"])
        return changes

    def session(self) -> Session:
        return Session(**self.start, ended=self.ended, answers=tuple(self.answers.values()))


def read(folder: Path) -> Ratings:
    """All that was rated in the comparison of `folder`."""
    return Ratings(sessions=tuple(opened.session() for opened in _sessions(folder).values()))


def start(folder: Path, rater: str, kind: Kind, what: str = "", per_model: int = 0, repeats: float = 0.1) -> str:
    """The id of the rater's session for a question: the one that was left unfinished, or a new one.

    Raises UserError where a name is missing or too long, and where the rater has already ended this question.
    """
    rater, what = _name(rater, "your name"), _name(what, "the defect").lower() if kind == "defect" else ""
    with _alone(folder):
        for known in read(folder).sessions:
            if (known.rater.casefold(), known.kind, known.what) == (rater.casefold(), kind, what):
                if known.ended:
                    raise UserError(
                        f"{known.rater} has already rated this and seen the result: a second time would not be blind."
                    )
                return known.id
        id, values = new_id(), dict(rater=rater, kind=kind, what=what, per_model=per_model, repeats=repeats)
        values |= dict(seed=secrets.randbits(32), started=time.time())
        append_json(folder / RATINGS_FILE, {"line": "start", "id": id, **values})
    return id


def add(folder: Path, session: str, presses: Sequence[Press]) -> Session:
    """Take key presses in their order, and return the session with them; they are on disk then.

    A press whose id is known, whose task is answered or which takes back what is not in force is passed over. Raises
    UserError for an answer that the question does not have, and for a session that has ended.
    """
    with _alone(folder):
        opened = _sessions(folder).get(session)
        if opened is None:
            raise UserError("There is no such rating session: open the rating room again.")
        fresh = [press for press in presses if press.id not in opened.seen]
        wrong = next((p.answer for p in fresh if not p.undoes and p.answer not in ANSWERS[opened.start["kind"]]), "")
        if wrong:
            raise UserError(f"{wrong!r} is no answer to this question.")
        if fresh and opened.ended:
            raise UserError("This session has ended, in another tab perhaps: its answers are kept as they were.")
        for press in fresh:
            said: dict[str, Any] = {"undoes": press.undoes} if press.undoes else _answer(press)
            line = {"line": "press", "session": session, "press": press.id, **said, "time": time.time()}
            if opened.take(line):
                append_json(folder / RATINGS_FILE, line)
    return opened.session()


def end(folder: Path, session: str) -> None:
    """Close a session, after which its answers count and its rater may see results; a second time changes nothing."""
    with _alone(folder):
        opened = _sessions(folder).get(session)
        if opened is not None and not opened.ended:
            append_json(folder / RATINGS_FILE, {"line": "end", "session": session, "time": time.time()})


def _alone(folder: Path) -> FileLock:
    """Held from reading to writing, so that two writers never answer one task."""
    return FileLock(folder / f".{RATINGS_FILE}.lock")


def _answer(press: Press) -> dict[str, Any]:
    return {"task": press.task, "pictures": list(press.pictures), "answer": press.answer}


def _sessions(folder: Path) -> dict[str, _Open]:
    sessions: dict[str, _Open] = {}
    for line in read_json_lines(folder / RATINGS_FILE):
        kind = line.pop("line")
        if kind == "start":
            sessions[line["id"]] = _Open(line)
        elif kind == "press":
            sessions[line["session"]].take(line)
        else:
            sessions[line["session"]].ended = line["time"]
    return sessions


def _name(text: str, what: str) -> str:
    name = re.sub(r"\s+", " ", text).strip()
    if not name:
        raise UserError(f"Give {what} first.")
    if len(name) > LONGEST:
        raise UserError(f"Make {what} shorter: {count(LONGEST, 'letter')} at most.")
    return name
