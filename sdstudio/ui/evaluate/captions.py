"""The tab Captions: two runs that differ in their captions alone, and what that changed."""

from collections.abc import Sequence

import streamlit as st

from sdstudio.evaluation.boards import Board, list_boards
from sdstudio.evaluation.captions import Delta, Pair, caption_pairs, deltas, lines_of, verdict
from sdstudio.results import ARROWS, decimals, interval_text
from sdstudio.ui.evaluate.scoreboard import board_label
from sdstudio.ui.models import trained_models
from sdstudio.ui.session import in_address, page_file
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace

KEY = "captions"


def show(workspace: Workspace) -> None:
    st.markdown("**Did my captions help?** Two runs with the same settings and pictures, and other captions.")
    pairs = caption_pairs(workspace)
    if not pairs:
        st.info(
            "There are no two such runs yet: train, change captions in Annotate, train again with the same settings.",
            icon=":material/compare_arrows:",
        )
        return
    pair = choose_pair(workspace, pairs)
    st.caption(
        literal(f"{count(pair.changed, 'caption')} of {pair.dataset} changed between the two; nothing else differs.")
    )
    boards = {board.hash: board for board in list_boards(workspace) if lines_of(board, pair)}
    if not boards:
        measure_link(pair, "Measure the two")
        return
    hash = st.selectbox(
        "Measured under", list(boards), format_func=lambda hash: board_label(boards[hash]), key=f"{KEY}.board"
    )
    show_deltas(boards[hash], pair)
    measure_link(pair, "Measure them in another way")


def choose_pair(workspace: Workspace, pairs: Sequence[Pair]) -> Pair:
    """A picker over the pairs; the address may name the snapshots as `before` and `after`."""
    labels = {ref: model.label for ref, model in trained_models(workspace).items()}
    wanted = (in_address("before"), in_address("after"))
    first = next((place for place, pair in enumerate(pairs) if pair.snapshots == wanted), len(pairs) - 1)

    def label(place: int) -> str:
        pair = pairs[place]
        before, after = (labels.get(one.ref, one.run) for one in (pair.before, pair.after))
        return f"{before} ({pair.snapshots[0][:8]})  →  {after} ({pair.snapshots[1][:8]})"

    return pairs[st.selectbox("Runs", range(len(pairs)), index=first, format_func=label, key=f"{KEY}.pair")]


def measure_link(pair: Pair, label: str) -> None:
    st.page_link(
        page_file("evaluate"),
        label=label,
        icon=":material/analytics:",
        query_params={"model": f"{pair.before.ref},{pair.after.ref}", "table": "new"},
    )


def show_deltas(board: Board, pair: Pair) -> None:
    """The verdict, and a row for each measure."""
    import pandas

    lines = lines_of(board, pair)
    found = deltas(board, *lines) if lines else []
    if not found:
        st.caption("No measure has a value of both.")
        return
    st.markdown(literal(verdict(found)))
    st.table(pandas.DataFrame([row(one) for one in found]), border="horizontal", hide_index=True)
    st.caption(
        "Change: after minus before, on the same prompts and seeds, with its 95% interval over prompts; p adjusted for "
        "the number of measures (Holm). Measures of all pictures together have neither."
    )


def row(delta: Delta) -> dict[str, str]:
    values = [value for value in (delta.before.value, delta.after.value) if value is not None]
    digits = decimals(values)
    before, after = (f"{value:.{digits}f}".replace("-", "−") for value in values)
    change = delta.paired.difference if delta.paired else values[1] - values[0]
    interval = interval_text(delta.paired.interval, digits) if delta.paired else ""
    return {
        "Measure": literal(f"{delta.metric.label} {ARROWS[delta.metric.better]}"),
        "Before": before,
        "After": after,
        "Change": literal(f"{change:+.{digits}f} {interval}".replace("-", "−").strip()),
        "p": "" if delta.p is None else f"{delta.p:.3f}",
    }
