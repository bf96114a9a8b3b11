"""One number of the scoreboard: how it was measured, and the best and worst pictures behind it."""

from collections.abc import Sequence

import streamlit as st

from sdstudio.evaluation.boards import Board, Cell, Line
from sdstudio.results import FLOOR, Picture, count_text, decimals, interval_text
from sdstudio.schema import Metric, MetricResult
from sdstudio.ui.files import job_png_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.session import page_file
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace

SHOWN = 6
Scored = tuple[Picture, float]


def show_cell(workspace: Workspace, board: Board, line: Line | None, metric: Metric) -> None:
    """The details of a line's cell, or of the floor's where `line` is None."""
    cell = line.cells[metric.name] if line else None
    result = cell.result if cell else board.floor[metric.name]
    with st.container(border=True, key="scoreboard-cell"):
        st.markdown(f"**{literal(metric.label)}** of **{literal(line.label if line else FLOOR)}**")
        st.markdown(literal(value_text(result)))
        st.caption(
            f"{literal(metric.summary)} Seen through {literal(result.extractor)}, {literal(result.preprocessing)}. "
            f"{literal(metric.paper)}."
        )
        for flag in result.flags:
            st.markdown(f":orange[:material/flag:] {literal(flag)}")
        show_protocol(board, cell)
        if line and cell:
            show_extremes(workspace, cell, metric)


def value_text(result: MetricResult) -> str:
    """'0.62, 95% interval [0.58, 0.66], N 40 vs 200; vs base +0.04 [0.01, 0.07]'."""
    if result.value is None:
        return f"Not computed, N {count_text(result)}"
    digits = decimals([result.value])
    parts = [f"{result.value:.{digits}f}"]
    parts.append(f"95% interval {interval_text(result.interval, digits)}" if result.interval else "no interval")
    text = ", ".join([*parts, f"N {count_text(result)}"])
    paired = result.versus_base
    if paired:
        interval = f" {interval_text(paired.interval, digits)}" if paired.interval else ""
        text += f"; vs base {paired.difference:+.{digits}f}{interval}"
    return text.replace("-", "−")


def show_protocol(board: Board, cell: Cell | None) -> None:
    protocol = board.protocol
    facts = [
        f"Protocol {board.hash[:12]}",
        count(len(protocol.prompts), "prompt"),
        count(len(protocol.seeds), "seed"),
        f"{protocol.settings.steps} steps at guidance {protocol.settings.guidance_scale:g}",
        f"reference {protocol.reference}" if protocol.reference else "no reference",
    ]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(literal(" · ".join(facts)), width="content")
        if cell:
            st.page_link(
                page_file("evaluate"),
                label="Open the comparison",
                icon=":material/open_in_new:",
                query_params={"table": cell.evaluation},
                width="content",
            )


def show_extremes(workspace: Workspace, cell: Cell, metric: Metric) -> None:
    """The best and the worst pictures; by prompt where the metric has no value for each picture."""
    scored = scored_pictures(cell, metric)
    if not scored:
        st.caption("This measure looks at all pictures together, so there is no best and no worst one.")
        return
    half = min(SHOWN, len(scored) // 2)
    for title, part in (("Best", scored[:half]), ("Worst", scored[::-1][:half])):
        st.caption(title)
        gallery(
            items(workspace, cell, part), key=f"cell-{title}-{cell.evaluation}-{cell.row.key}-{metric.name}", cell=7
        )


def scored_pictures(cell: Cell, metric: Metric) -> list[Scored]:
    """The row's pictures with their value, the best first."""
    result = cell.result
    if result.per_picture:
        scored = [(one, result.per_picture[one.file]) for one in cell.row.pictures if one.file in result.per_picture]
    else:
        means = result.per_prompt
        scored = [(one, means[one.prompt]) for one in cell.row.pictures if one.prompt in means]
    return sorted(scored, key=lambda pair: pair[1], reverse=metric.better == "higher")


def items(workspace: Workspace, cell: Cell, scored: Sequence[Scored]) -> list[Item]:
    folder = workspace.evaluations / cell.evaluation
    digits = decimals([value for _, value in scored])
    return [
        Item(
            id=picture.file,
            src=job_png_url(workspace, folder / picture.file),
            text=picture.text,
            note=f"{value:.{digits}f} · seed {picture.seed}",
        )
        for picture, value in scored
    ]
