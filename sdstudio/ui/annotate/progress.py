"""How far a person has come with a dataset."""

import streamlit as st

from sdstudio.datasets import DatasetStore
from sdstudio.datasets.query import Query
from sdstudio.schema import CaptionState

COLORS: dict[CaptionState, str] = {"approved": "#5B7F3A", "modified": "#2F6F73", "not modified": "#C9BFAF"}


def show_progress(store: DatasetStore) -> None:
    """The bar: captions that a person wrote or approved, of all pictures."""
    modified, total = store.progress()
    st.progress(modified / max(total, 1), text=f"Modified: {modified:,} / {total:,}", width="stretch")


def show_progress_with_chart(store: DatasetStore) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        show_progress(store)
        chart = st.popover("Chart", icon=":material/donut_large:", type="tertiary", on_change="rerun", key="chart")
        if chart.open:
            with chart:
                show_chart(store)


def show_chart(store: DatasetStore) -> None:
    """A ring of the captions by state."""
    import altair
    import pandas

    counts = {state: store.count(Query(state=state)) for state in COLORS}
    labels = [f"{number:,} {state}" for state, number in counts.items()]
    table = pandas.DataFrame({"State": labels, "Pictures": list(counts.values())})
    color = altair.Color(
        "State:N",
        scale=altair.Scale(domain=labels, range=list(COLORS.values())),
        legend=altair.Legend(orient="bottom", direction="vertical", title=None, labelFontSize=13),
    )
    ring = altair.Chart(table, height=260).mark_arc(innerRadius=45).encode(theta="Pictures:Q", color=color)
    st.altair_chart(ring, width=260)
