"""What answers amount to: a share for each picture, duels of models, how far raters agree with others and themselves.

Of a picture that a rater saw twice the first answer counts; the second only tells how steady they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from sdstudio.ratings.agreement import cohen_kappa, fleiss_kappa
from sdstudio.ratings.preference import Duel
from sdstudio.ratings.store import Session

TIE = "tie"
Pictures = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Share:
    """One picture: `yes` of the `seen` raters who saw what could have the defect, of all `rated` who answered."""

    yes: int
    seen: int
    rated: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Between raters: `kappa` is Cohen's of two, Fleiss' of more, over `pictures` that at least two of them rated.

    None where it is not defined.
    """

    raters: int
    pictures: int
    kappa: float | None


@dataclass(frozen=True, kw_only=True)
class Steadiness:
    """One rater with themselves: of `repeats` pictures shown twice `same` got the same answer both times."""

    repeats: int
    same: int
    kappa: float | None


def shares(sessions: Sequence[Session]) -> dict[str, Share]:
    """{file: share} of all pictures that anybody rated for one defect."""
    said: dict[str, list[str]] = {}
    for session in sessions:
        for pictures, answer in first_answers(session).items():
            said.setdefault(pictures[0], []).append(answer)
    return {
        file: Share(yes=answers.count("yes"), seen=len(answers) - answers.count("absent"), rated=len(answers))
        for file, answers in said.items()
    }


def duels(sessions: Sequence[Session]) -> list[Duel]:
    """Every comparison of two models' pictures; a model is named by its row's key, the folder of its pictures."""
    return [
        Duel(first=_model(pictures[0]), second=_model(pictures[1]), winner=_model(answer))
        for session in sessions
        for pictures, answer in first_answers(session).items()
    ]


def _model(file: str) -> str:
    return "" if file == TIE else PurePosixPath(file).parent.name


def agreement(sessions: Sequence[Session]) -> Agreement | None:
    """How far the raters of one question agree; None where fewer than two have rated the same picture."""
    given = [first_answers(session) for session in sessions]
    together = [
        answers
        for pictures in dict.fromkeys(pictures for one in given for pictures in one)
        if len(answers := [one[pictures] for one in given if pictures in one]) > 1
    ]
    if not together:
        return None
    two = len(given) == 2
    kappa = cohen_kappa([(one, other) for one, other in together]) if two else fleiss_kappa(together)
    return Agreement(raters=len(given), pictures=len(together), kappa=kappa)


def steadiness(session: Session) -> Steadiness | None:
    """How often the rater said the same of a picture that came again; None where none did."""
    answers = _answers(session)
    twice = [(said[0], said[1]) for said in answers.values() if len(said) > 1]
    if not twice:
        return None
    return Steadiness(repeats=len(twice), same=sum(one == other for one, other in twice), kappa=cohen_kappa(twice))


def first_answers(session: Session) -> dict[Pictures, str]:
    """{pictures in alphabetical order: answer}; of two pictures the answer is the better one's file, or a tie."""
    return {pictures: said[0] for pictures, said in _answers(session).items()}


def _answers(session: Session) -> dict[Pictures, list[str]]:
    found: dict[Pictures, list[str]] = {}
    for given in session.answers:
        sides = dict(zip(("first", "second"), given.pictures, strict=False))
        answer = sides.get(given.answer, given.answer) if session.kind == "preference" else given.answer
        found.setdefault(tuple(sorted(given.pictures)), []).append(answer)
    return found
