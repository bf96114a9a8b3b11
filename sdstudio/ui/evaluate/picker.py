"""Which checkpoint to keep: no single number, but those that no other beats in everything."""

from collections.abc import Mapping, Sequence

import streamlit as st

from sdstudio.evaluation.boards import Board, Line
from sdstudio.evaluation.picking import ASPECTS, Candidate, aspects_of, candidates
from sdstudio.results import ARROWS, decimals
from sdstudio.schema import Metric
from sdstudio.ui.charts import front_chart
from sdstudio.ui.text import literal

SHOWN = 3


def show_picker(board: Board, lines: Sequence[Line]) -> None:
    """The candidates of `lines` as a chart and a table; what is missing to weigh them is said."""
    st.subheader("Which checkpoint to keep")
    aspects = aspects_of(board)
    missing = [aspect for aspect in ASPECTS if aspect not in aspects]
    found = candidates(board, lines) if len(aspects) > 1 else []
    if len(found) < 2:
        st.caption(
            "There is nothing to weigh yet: measure two checkpoints or more by at least two of fidelity (KID), "
            "prompt-following (CLIP score), diversity (Vendi score) and copy risk (copy rate)."
        )
        return
    up, across, *_ = aspects
    rows = [
        {"label": one.line.label, "x": one.values[across], "y": one.values[up], "front": one.on_front} for one in found
    ]
    front_chart(rows, _title(across, aspects[across]), _title(up, aspects[up]))
    show_candidates(found, aspects)
    text = "★ no other checkpoint is at least as good in all of these and better in one (Pareto front). "
    text += "Not told apart: by paired tests over prompts in any of these that has a value for each prompt (5%, Holm)."
    st.caption(text + (f" Not measured here: {', '.join(missing).lower()}." if missing else ""))


def _title(aspect: str, metric: Metric) -> str:
    return f"{aspect}: {metric.label} {ARROWS[metric.better]}"


def show_candidates(found: Sequence[Candidate], aspects: Mapping[str, Metric]) -> None:
    import pandas

    digits = {aspect: decimals([one.values[aspect] for one in found]) for aspect in aspects}
    rows = [
        {
            "": "★" if one.on_front else "",
            "Checkpoint": literal(one.line.label),
            **{
                literal(_title(aspect, metric)): f"{one.values[aspect]:.{digits[aspect]}f}"
                for aspect, metric in aspects.items()
            },
            "Not distinguishable from": literal(_few(one.like)),
        }
        for one in sorted(found, key=lambda one: not one.on_front)
    ]
    st.table(pandas.DataFrame(rows), border="horizontal", hide_index=True)


def _few(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return ", ".join(labels[:SHOWN]) + more
