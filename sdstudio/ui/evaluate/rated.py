"""What a question's ratings amount to: each model's share or strength, and how far the raters can be trusted."""

from collections.abc import Sequence

import streamlit as st

from sdstudio.ratings import judged, store
from sdstudio.ratings.outcome import cells, trust
from sdstudio.results import interval_text, read_evaluation
from sdstudio.schema import Job, MetricResult
from sdstudio.ui.rating_room import title
from sdstudio.ui.text import count, literal


def show_results(job: Job, kind: store.Kind, what: str) -> None:
    sessions = store.read(job.folder).ended(kind, what)
    found = cells(read_evaluation(job.folder), job.folder, kind, what)
    st.subheader("Preference" if kind == "preference" else literal(title(kind, what).capitalize()))
    raters = ", ".join(session.rater for session in sessions)
    st.caption(literal(f"Rated blind by {raters}. Sessions that go on do not count yet."))
    if kind == "preference":
        show_preference(found, sessions)
    else:
        show_defect(found)
    for line in trust(sessions):
        st.markdown(f":gray[:material/groups:] {literal(line)}")


def show_defect(found: Sequence[MetricResult]) -> None:
    show_table(
        [
            {
                "Model": literal(cell.model),
                "Share": "none" if cell.value is None else f"**{cell.value:.1%}**",
                "95% interval": _percent(cell.interval),
                "Judged": f"{len(cell.per_picture)} of {cell.n_generated}",
                "Against the base model": _difference(cell),
            }
            for cell in found
        ]
    )
    st.caption(
        "Share of the pictures that show what could have the defect. Brackets: Wilson's 95% interval; against the base "
        "model, on the same prompts, a paired t-interval over prompts."
    )


def show_preference(found: Sequence[MetricResult], sessions: Sequence[store.Session]) -> None:
    show_table(
        [
            {
                "Model": literal(cell.model),
                "Strength": "none" if cell.value is None else _minus(f"**{cell.value:+.2f}**"),
                "95% interval": _minus(interval_text(cell.interval, 2)),
                "Duels": str(cell.n_generated),
            }
            for cell in found
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


def _percent(interval: tuple[float, float] | None) -> str:
    return f"[{interval[0]:.1%}, {interval[1]:.1%}]" if interval else ""


def _difference(cell: MetricResult) -> str:
    paired_with = cell.versus_base
    if paired_with is None:
        return ""
    points = f"{100 * paired_with.difference:+.1f}"
    interval = paired_with.interval and (100 * paired_with.interval[0], 100 * paired_with.interval[1])
    return _minus(" ".join(part for part in (points, interval_text(interval, 1), "points") if part))


def _minus(text: str) -> str:
    return text.replace("-", "−")
