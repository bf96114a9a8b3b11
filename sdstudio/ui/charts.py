"""Charts of a run's numbers, and of the same number of several runs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    import altair
    import pandas

Metrics = Sequence[Mapping[str, Any]]
SMOOTHING = 0.9
"""Weight of what came before in the smoothed line (exponential moving average)."""
POINTS = 600
"""A line is drawn through at most about this many steps: a browser shows no more."""
HEIGHT, SMALL = 260, 110
LEGEND, LEGEND_LINE, LEGEND_COLUMNS = 80, 20, 2
"""Pixels that a legend takes below a chart, and that each of its lines takes, of so many names."""
GREY = "#8F867B"
"""Seen on the light background and on the dark one."""


def series(metrics: Metrics, name: str) -> "pandas.DataFrame":
    """Columns `step`, `value` and `smoothed` of the lines that have the number `name`, thinned to `POINTS`."""
    import pandas

    rows = [(row["step"], row[name]) for row in metrics if row.get(name) is not None]
    table = pandas.DataFrame(rows, columns=["step", "value"])
    table["smoothed"] = table["value"].ewm(alpha=1 - SMOOTHING).mean()
    every = max(1, len(table) // POINTS)
    return table[(table.index % every == 0) | (table.index == len(table) - 1)]


def loss_chart(metrics: Metrics) -> None:
    """The training loss by step: each step faint, the smoothed line over it."""
    table = series(metrics, "loss")
    if table.empty:
        st.caption("The loss appears here after the first step.")
        return
    alt = _altair()
    base = alt.Chart(table, height=HEIGHT).encode(_step())
    each = base.mark_line(opacity=0.3, strokeWidth=1).encode(_value("Training loss"))
    smooth = base.mark_line(strokeWidth=2.5).encode(alt.Y("smoothed:Q"), tooltip=_tooltip("smoothed"))
    st.altair_chart(each + smooth, width="stretch")


def validation_chart(metrics: Metrics, best_step: int | None = None) -> None:
    """The validation loss with its points, the base model's as a dashed line, and the best checkpoint's step."""
    table = series(metrics, "val_loss")
    if table.empty:
        return
    alt = _altair()
    base = alt.Chart(table, height=HEIGHT).encode(_step(), _value("Validation loss"))
    chart = base.mark_line(strokeWidth=2.5, point=True).encode(tooltip=_tooltip("value"))
    before = series(metrics, "val_base")
    if not before.empty:
        line = alt.Chart(before.tail(1).assign(name="Base model"))
        chart += line.mark_rule(strokeDash=[5, 4], color=GREY).encode(alt.Y("value:Q"))
        chart += line.mark_text(align="right", baseline="bottom", x="width", dy=-3, color=GREY).encode(
            alt.Y("value:Q"), alt.Text("name:N")
        )
    best = table[table["step"] == best_step]
    if not best.empty:
        chart += alt.Chart(best).mark_point(size=140, shape="diamond", filled=True).encode(_step(), alt.Y("value:Q"))
    st.altair_chart(chart, width="stretch")


def small_chart(metrics: Metrics, names: Mapping[str, str], title: str, scale: float = 1.0) -> None:
    """A little chart of one kind of number; with several `names` (number -> label), a line each."""
    import pandas

    tables = [series(metrics, name).assign(name=label) for name, label in names.items()]
    tables = [table for table in tables if not table.empty]
    if not tables:
        return
    table = pandas.concat(tables)
    table["value"] *= scale
    st.caption(title)
    st.altair_chart(_lines(table, "value", "", SMALL, legend=len(tables) > 1), width="stretch")


def compare_chart(runs: Mapping[str, Metrics], name: str, title: str) -> None:
    """The number `name` of several runs, a line each; the training loss is smoothed."""
    import pandas

    tables = [series(metrics, name).assign(name=label) for label, metrics in runs.items()]
    tables = [table for table in tables if not table.empty]
    if not tables:
        st.caption("None of these runs has this number.")
        return
    column = "smoothed" if name in ("loss", "grad_norm") else "value"
    height = _height_with_legend(len(tables))
    st.altair_chart(_lines(pandas.concat(tables), column, title, height, legend=True), width="stretch")


def metric_chart(rows: Sequence[Mapping[str, Any]], marks: Mapping[str, float], title: str, better: str) -> None:
    """A measure over the steps of several runs, a line each, with its intervals; `marks` are dashed lines by name.

    `rows` have run, step, value, and low and high where there is an interval.
    """
    import pandas

    if not rows:
        st.caption(f"{title}: none of these checkpoints has it.")
        return
    alt = _altair()
    table = pandas.DataFrame(rows)
    runs = table["run"].nunique()
    legend = _legend() if runs > 1 else None
    colour = alt.Color("run:N", legend=legend, sort=None)
    base = alt.Chart(table, height=_height_with_legend(runs) if runs > 1 else HEIGHT).encode(_step(), colour)
    named = f"{title} ({better} is better)"
    chart = base.mark_line(strokeWidth=2, point=True).encode(
        _value(named),
        tooltip=[alt.Tooltip("run:N", title="Run"), *_tooltip("value")],
    )
    if table["low"].notna().any():
        chart += base.mark_rule(opacity=0.5).encode(alt.Y("low:Q", title=named), alt.Y2("high:Q"))
    for place, (name, height) in enumerate(marks.items()):
        line = alt.Chart(pandas.DataFrame([{"value": height, "name": name}]))
        chart += line.mark_rule(strokeDash=[5, 4], color=GREY).encode(alt.Y("value:Q"))
        chart += line.mark_text(align="left", baseline="bottom", x=4 + 90 * place, dy=-3, color=GREY).encode(
            alt.Y("value:Q"), alt.Text("name:N")
        )
    st.altair_chart(chart, width="stretch")


def front_chart(rows: Sequence[Mapping[str, Any]], across: str, up: str) -> None:
    """Candidates by two aspects; those that none beats in all aspects are filled. `rows` have label, x, y and front."""
    import pandas

    alt = _altair()
    base = alt.Chart(pandas.DataFrame(rows), height=HEIGHT).encode(
        alt.X("x:Q", title=across, scale=alt.Scale(zero=False)),
        alt.Y("y:Q", title=up, scale=alt.Scale(zero=False)),
        tooltip=[
            alt.Tooltip("label:N", title="Checkpoint"),
            alt.Tooltip("x:Q", title=across),
            alt.Tooltip("y:Q", title=up),
        ],
    )
    on, off = alt.datum.front, f"!({alt.datum.front})"
    points = base.transform_filter(on).mark_point(size=130, filled=True)
    points += base.transform_filter(off).mark_point(size=90, opacity=0.6)
    points += base.transform_filter(on).mark_text(dy=-13, fontSize=11, color=GREY).encode(alt.Text("label:N"))
    st.altair_chart(points, width="stretch")


def _lines(table: "pandas.DataFrame", column: str, title: str, height: int, legend: bool) -> "altair.Chart":
    alt = _altair()
    return (
        alt.Chart(table, height=height)
        .mark_line(strokeWidth=2)
        .encode(
            _step("Step" if title else ""),
            _value(title, column),
            alt.Color("name:N", legend=_legend() if legend else None, sort=None),
            tooltip=[alt.Tooltip("name:N", title="Run"), *_tooltip(column)],
        )
    )


def _legend() -> "altair.Legend":
    return _altair().Legend(title=None, orient="bottom", columns=LEGEND_COLUMNS, labelLimit=360)


def _height_with_legend(names: int) -> int:
    return HEIGHT + LEGEND + LEGEND_LINE * -(-names // LEGEND_COLUMNS)


def _altair() -> Any:
    import altair

    return altair


def _step(title: str = "Step") -> "altair.X":
    alt = _altair()
    return alt.X("step:Q", title=title or None, axis=alt.Axis(tickMinStep=1, tickCount=6, format="d", grid=False))


def _value(title: str, column: str = "value") -> "altair.Y":
    alt = _altair()
    return alt.Y(
        f"{column}:Q",
        title=title or None,
        scale=alt.Scale(zero=False),
        axis=alt.Axis(tickCount=5 if title else 3, format="~r"),
    )


def _tooltip(column: str) -> list["altair.Tooltip"]:
    alt = _altair()
    return [alt.Tooltip("step:Q", title="Step"), alt.Tooltip(f"{column}:Q", format=".4g", title="Value")]
