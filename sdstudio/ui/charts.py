"""Charts of a run's numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

SMOOTHING = 0.9
"""Weight of what came before in the smoothed line (exponential moving average)."""


def loss_chart(metrics: Sequence[Mapping[str, Any]]) -> None:
    """The training loss by step: each step faint, the smoothed line over it."""
    import altair
    import pandas

    table = pandas.DataFrame(
        [{"step": row["step"], "loss": row["loss"]} for row in metrics if row.get("loss") is not None]
    )
    if table.empty:
        st.caption("The loss appears here after the first step.")
        return
    table["smoothed"] = table["loss"].ewm(alpha=1 - SMOOTHING).mean()
    step = altair.X("step:Q", title="Step", axis=altair.Axis(tickMinStep=1, format="d"))
    base = altair.Chart(table, height=260)
    each = base.mark_line(opacity=0.3, strokeWidth=1).encode(
        step, altair.Y("loss:Q", title="Loss", scale=altair.Scale(zero=False))
    )
    smooth = base.mark_line(strokeWidth=2.5).encode(
        step, altair.Y("smoothed:Q"), tooltip=[altair.Tooltip("step:Q"), altair.Tooltip("smoothed:Q", format=".4f")]
    )
    st.altair_chart(each + smooth, width="stretch")
