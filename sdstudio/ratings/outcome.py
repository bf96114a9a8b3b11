"""What the ended sessions of a question say: a number for each model, and how far the raters can be trusted."""

from collections.abc import Sequence
from pathlib import Path

from sdstudio.metrics import preference
from sdstudio.metrics.rated import share_of_pictures
from sdstudio.ratings import judged, store
from sdstudio.ratings.store import Kind, Session
from sdstudio.results import Evaluation
from sdstudio.results.judging import paired, sample
from sdstudio.schema import MetricResult
from sdstudio.words import count


def questions(sessions: Sequence[Session]) -> list[tuple[Kind, str]]:
    """The questions that somebody has ended, in the order in which they were asked first."""
    return list(dict.fromkeys((session.kind, session.what) for session in sessions if session.ended))


def cells(evaluation: Evaluation, folder: Path, kind: Kind, what: str) -> list[MetricResult]:
    """Each model's share of pictures with the defect `what`, paired with its base model's; or its strength.

    Strengths are ordered from the most preferred model on, shares as the comparison's rows.
    """
    if kind == "preference":
        strengths = [preference.compute(sample(row, folder)) for row in evaluation.rows]
        return sorted(strengths, key=lambda cell: -(cell.value if cell.value is not None else float("-inf")))
    shares = judged.shares(store.read(folder).ended(kind, what))
    found = {row.key: share_of_pictures(what, sample(row, folder), shares) for row in evaluation.rows}
    return [paired(found[row.key], found[row.base], row) for row in evaluation.rows]


def trust(sessions: Sequence[Session]) -> list[str]:
    """How far the raters of one question agree with each other and with themselves, a sentence each."""
    lines, shown = [], "pair" if any(session.kind == "preference" for session in sessions) else "picture"
    among = judged.agreement(sessions)
    if among is None:
        lines.append(
            f"One rater: let a second person rate the same {shown}s to see whether the answers are more than taste."
        )
    else:
        kind = "Cohen's" if among.raters == 2 else "Fleiss'"
        common = f"{count(among.raters, 'rater')}, {count(among.pictures, shown)} in common"
        lines.append(f"{common}: {kind} κ {_kappa(among.kappa)}.")
    for session in sessions:
        steady = judged.steadiness(session)
        if steady:
            lines.append(
                f"{session.rater} said the same of {steady.same} of {count(steady.repeats, shown)} shown twice "
                f"(κ {_kappa(steady.kappa)})."
            )
    return lines


def _kappa(value: float | None) -> str:
    return "not defined, all answers are alike" if value is None else f"{value:.2f}".replace("-", "−")
