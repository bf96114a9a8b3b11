"""What a question's ratings amount to: each model's share or strength, and how far the raters can be trusted."""

from collections.abc import Sequence

import streamlit as st

from sdstudio.metrics import preference
from sdstudio.metrics.rated import share_of_pictures
from sdstudio.ratings import judged, store
from sdstudio.results import Evaluation, interval_text, read_evaluation
from sdstudio.results.judging import paired, sample
from sdstudio.schema import Job, MetricResult
from sdstudio.ui.rating_room import title
from sdstudio.ui.text import count, literal


def show_results(job: Job, kind: store.Kind, what: str) -> None:
    sessions = store.read(job.folder).ended(kind, what)
    evaluation = read_evaluation(job.folder)
    st.subheader("Preference" if kind == "preference" else literal(title(kind, what).capitalize()))
    raters = ", ".join(session.rater for session in sessions)
    st.caption(literal(f"Rated blind by {raters}. Sessions that go on do not count yet."))
    if kind == "preference":
        show_preference(evaluation, job, sessions)
    else:
        show_defect(evaluation, job, what, sessions)
    show_trust(sessions)


def show_defect(evaluation: Evaluation, job: Job, what: str, sessions: Sequence[store.Session]) -> None:
    shares = judged.shares(sessions)
    found = {row.key: share_of_pictures(what, sample(row, job.folder), shares) for row in evaluation.rows}
    cells = [paired(found[row.key], found[row.base], row) for row in evaluation.rows]
    show_table(
        [
            {
                "Model": literal(cell.model),
                "Share": "none" if cell.value is None else f"**{cell.value:.1%}**",
                "95% interval": _percent(cell.interval),
                "Judged": f"{len(cell.per_picture)} of {cell.n_generated}",
                "Against the base model": _difference(cell),
            }
            for cell in cells
        ]
    )
    st.caption(
        "Share of the pictures that show what could have the defect. Brackets: Wilson's 95% interval; against the base "
        "model, on the same prompts, a paired t-interval over prompts."
    )


def show_preference(evaluation: Evaluation, job: Job, sessions: Sequence[store.Session]) -> None:
    cells = [preference.compute(sample(row, job.folder)) for row in evaluation.rows]
    show_table(
        [
            {
                "Model": literal(cell.model),
                "Strength": "none" if cell.value is None else f"**{cell.value:+.2f}**",
                "95% interval": interval_text(cell.interval, 2),
                "Duels": str(cell.n_generated),
            }
            for cell in sorted(cells, key=lambda cell: -(cell.value if cell.value is not None else float("-inf")))
        ]
    )
    duels = judged.duels(sessions)
    st.caption(
        f"Bradley–Terry strengths: log-odds of being preferred, 0 for the mean model. "
        f"{sum(not duel.winner for duel in duels)} of {count(len(duels), 'duel')} were ties, half a win for each."
    )


def show_table(rows: list[dict[str, str]]) -> None:
    import pandas

    st.table(pandas.DataFrame(rows), border="horizontal", hide_index=True)


def show_trust(sessions: Sequence[store.Session]) -> None:
    """How far raters agree with each other and with themselves."""
    lines = []
    among = judged.agreement(sessions)
    if among is None:
        lines.append(
            "One rater: let a second person rate the same pictures to see whether the answers are more than taste."
        )
    else:
        kind = "Cohen's" if among.raters == 2 else "Fleiss'"
        common = f"{count(among.raters, 'rater')}, {count(among.pictures, 'picture')} in common"
        lines.append(f"{common}: {kind} κ {_kappa(among.kappa)}.")
    for session in sessions:
        steady = judged.steadiness(session)
        if steady:
            lines.append(
                f"{session.rater} said the same of {steady.same} of {count(steady.repeats, 'picture')} shown twice "
                f"(κ {_kappa(steady.kappa)})."
            )
    for line in lines:
        st.markdown(f":gray[:material/groups:] {literal(line)}")


def _kappa(value: float | None) -> str:
    return "not defined, all answers are alike" if value is None else f"{value:.2f}"


def _percent(interval: tuple[float, float] | None) -> str:
    return f"[{interval[0]:.1%}, {interval[1]:.1%}]" if interval else ""


def _difference(cell: MetricResult) -> str:
    paired_with = cell.versus_base
    if paired_with is None:
        return ""
    points = f"{100 * paired_with.difference:+.1f} points"
    return f"{points} {_percent(paired_with.interval)}".strip()
