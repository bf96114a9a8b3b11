"""The tab Scoreboard: every model that one protocol measured, beside each other."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from sdstudio.evaluation.boards import Board, Line, list_boards
from sdstudio.evaluation.figures import Figures
from sdstudio.evaluation.merging import merged
from sdstudio.results import ARROWS, FLOOR, count_text, decimals, interval_text
from sdstudio.results.ranking import SHARED, Ranking, is_rankable
from sdstudio.results.report import render
from sdstudio.results.tables import table_csv, table_latex, table_markdown
from sdstudio.schema import Metric, MetricResult
from sdstudio.ui.evaluate.cell import show_cell
from sdstudio.ui.evaluate.comparison import show_methods
from sdstudio.ui.session import in_address, put_in_address
from sdstudio.ui.text import count, duration, literal, size
from sdstudio.workspace import Workspace

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

KEY = "scoreboard"
MARKS = {1: "①", 2: "②", 3: "③"}
COLOURS = {1: "rgba(222, 82, 50, .34)", 2: "rgba(236, 146, 44, .30)", 3: "rgba(232, 205, 60, .30)"}
"""Red, orange, yellow for best, second and third; seen on light and on dark."""
FAINT = "color: rgba(143, 134, 123, 1)"
ROW_HEIGHT, MOST_ROWS = 35, 20


def show(workspace: Workspace) -> None:
    boards = list_boards(workspace)
    if not boards:
        st.info(
            "The scoreboard fills with the first comparison: set one up under Compare.", icon=":material/leaderboard:"
        )
        return
    board = choose_board(boards)
    rankings = rankings_of(board)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input(
            "Models", placeholder="Filter by name or method", key=f"{KEY}.filter", icon=":material/search:", width=280
        )
        metrics = choose_metrics(board)
    lines = [line for line in board.lines if line.role == "base" or matches(line, wanted)]
    rows = show_table(board, lines, metrics, rankings)
    show_notes(metrics, rankings)
    if rows is not None:
        show_cell(workspace, board, *rows)
    else:
        st.caption("Click a number to see how it was measured, and the best and worst pictures behind it.")
    take_out(workspace, board)


def choose_board(boards: Sequence[Board]) -> Board:
    by_hash = {board.hash: board for board in boards}
    if len(boards) == 1:
        board = boards[0]
        st.caption(literal(f"{board_label(board)} · all rows of one protocol"))
        return board
    key, wanted = f"{KEY}.board", in_address("protocol")
    if wanted in by_hash and st.session_state.get(key) != wanted:
        st.session_state[key] = wanted

    def chosen() -> None:
        put_in_address("protocol", st.session_state[key])

    hash = st.selectbox(
        "Protocol",
        list(by_hash),
        format_func=lambda hash: board_label(by_hash[hash]),
        key=key,
        on_change=chosen,
        help="Only models that were measured under one protocol are ranked together: the same prompts, seeds, sampler, "
        "reference pictures and encoder.",
    )
    return by_hash[hash]


def board_label(board: Board) -> str:
    models = count(len(board.lines), "model")
    return f"{board.protocol.name or 'Comparison'} · {models} · {board.hash[:12]}"


@st.cache_data(max_entries=20, show_spinner=False)
def _rankings(hash: str, evaluations: tuple[str, ...], lines: int, _board: Board) -> dict[str, Ranking]:
    return _board.rankings()


def rankings_of(board: Board) -> dict[str, Ranking]:
    """The places; the tests behind them are made once for each state of the board."""
    return _rankings(board.hash, board.evaluations, len(board.lines), board)


def choose_metrics(board: Board) -> list[Metric]:
    by_name = {metric.name: metric for metric in board.metrics}
    chosen = st.pills(
        "Measures",
        list(by_name),
        selection_mode="multi",
        default=list(by_name),
        format_func=lambda name: by_name[name].label,
        key=f"{KEY}.metrics.{board.hash}",
        wrap=True,
    )
    return [by_name[name] for name in chosen or by_name]


def matches(line: Line, text: str) -> bool:
    method = line.figures.method if line.figures else ""
    return all(word in f"{line.label} {method}".lower() for word in text.lower().split())


# ---------------------------------------------------------------- the table


def show_table(
    board: Board, lines: Sequence[Line], metrics: Sequence[Metric], rankings: Mapping[str, Ranking]
) -> tuple[Line | None, Metric] | None:
    """Draw the table; the line (None: the floor) and metric whose cell the person clicked, if any."""
    table = styled(board, lines, metrics, rankings)
    event = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-cell",
        key=f"{KEY}.table.{board.hash}",
        height=ROW_HEIGHT * (min(len(lines) + 1, MOST_ROWS) + 1) + 3,
        column_config={"Model": st.column_config.TextColumn(pinned=True, width=280)},
        placeholder="",
    )
    cells = event["selection"]["cells"]
    if not cells:
        return None
    row, column = cells[0]
    metric = next((metric for metric in metrics if heading(metric) == column), None)
    line = lines[row] if row < len(lines) else None
    results = line.cells if line else board.floor
    return (line, metric) if metric and metric.name in results else None


def heading(metric: Metric) -> str:
    return f"{metric.label} {ARROWS[metric.better]}"


def styled(board: Board, lines: Sequence[Line], metrics: Sequence[Metric], rankings: Mapping[str, Ranking]) -> "Styler":
    """Numbers to sort by, shown with place, interval and N; best, second and third in colour; the floor last."""
    import pandas

    data: dict[str, Any] = {"Model": [*(line.label for line in lines), FLOOR]}
    texts, looks = {}, {}
    for metric in metrics:
        cells, name = [*_results(lines, metric), board.floor.get(metric.name)], heading(metric)
        digits = decimals([cell.value or 0.0 for cell in cells if cell])
        places = [*(rankings[metric.name].places.get(line.key) for line in lines), None]
        pairs = list(zip(cells, places, strict=True))
        data[name] = pandas.Series([cell.value if cell else None for cell in cells], dtype="float64")
        texts[name] = [cell_text(cell, digits, place) for cell, place in pairs]
        looks[name] = [look(cell, place) for cell, place in pairs]
    for name, (read, show) in FIGURES.items():
        values = [*(line.figures and read(line.figures) for line in lines), None]
        if any(value is not None for value in values):
            data[name] = pandas.Series(values, dtype="float64" if show else "object")
    styler = pandas.DataFrame(data).style
    for name, column in texts.items():
        styler.apply(lambda _, found=looks[name]: found, subset=[name])
        by_value = dict(zip(data[name], column, strict=True))
        styler.format(by_value.get, subset=[name])
        for row, (value, text) in enumerate(zip(data[name], column, strict=True)):
            if by_value.get(value) != text:  # no number, or that of another row; each such call takes a millisecond
                styler.format(lambda _, text=text: text, subset=pandas.IndexSlice[[row], [name]], na_rep=text)
    for name, (_, show) in FIGURES.items():
        if name in data:
            styler.format(show, subset=[name], na_rep="")
    return styler


def _results(lines: Sequence[Line], metric: Metric) -> list[MetricResult | None]:
    found = [line.cells.get(metric.name) for line in lines]
    return [cell.result if cell else None for cell in found]


def cell_text(cell: MetricResult | None, digits: int, place: int | None) -> str:
    if cell is None:
        return ""
    if cell.value is None:
        return "not computed"
    star = "" if is_rankable(cell) or cell.model == FLOOR else " *"
    parts = (MARKS.get(place or 0, ""), f"{cell.value:.{digits}f}{star}", interval_text(cell.interval, digits))
    return " ".join(part for part in parts if part).replace("-", "−") + f"  N {count_text(cell)}"


def look(cell: MetricResult | None, place: int | None) -> str:
    if place in COLOURS:
        return f"background-color: {COLOURS[place]}"
    return "" if cell is None or is_rankable(cell) else FAINT


FIGURES: dict[str, tuple[Callable[[Figures], Any], Callable[[Any], str] | None]] = {
    "Method": (lambda run: run.method, None),
    "Learning rate": (lambda run: run.learning_rate, "{:g}".format),
    "Steps": (lambda run: run.step, "{:,.0f}".format),
    "Training time": (lambda run: run.seconds, duration),
    "Storage": (lambda run: run.storage, size),
    "Peak memory": (lambda run: run.memory, size),
    "Training loss": (lambda run: run.loss, "{:.4f}".format),
    "Validation loss": (lambda run: run.val_loss, "{:.4f}".format),
}
"""What stands beside the measurements: column -> (value of a run, how a number is shown)."""


def show_notes(metrics: Sequence[Metric], rankings: Mapping[str, Ranking]) -> None:
    st.caption(
        f"①②③ best, second, third; {SHARED}. "
        "Brackets: 95% interval. N: pictures measured vs real ones. \\* not ranked: exploratory or without interval. "
        "Training time counts the steps alone; peak memory is what the run's process held, or the GPU's."
    )
    reasons: dict[str, list[str]] = {}
    for metric in metrics:
        if rankings[metric.name].why_not:
            reasons.setdefault(rankings[metric.name].why_not, []).append(metric.label)
    for reason, labels in reasons.items():
        st.caption(f":material/info: {literal(', '.join(labels))}: {literal(reason)}.")


# ---------------------------------------------------------------- taking it out


def take_out(workspace: Workspace, board: Board) -> None:
    """The board as files, each made when it is asked for, and its methods paragraph."""
    everything = merged(board)
    name = f"scoreboard-{board.hash[:12]}"
    files = {
        "CSV": ("csv", "text/csv", lambda: table_csv(everything.results)),
        "LaTeX": ("tex", "text/x-tex", lambda: table_latex(everything)),
        "Markdown": ("md", "text/markdown", lambda: table_markdown(everything)),
        "Report with pictures and methods": (
            "html",
            "text/html",
            lambda: render(everything, workspace.evaluations, workspace.root),
        ),
    }
    with st.container(horizontal=True):
        for label, (suffix, mime, make) in files.items():
            st.download_button(
                label,
                data=make,
                file_name=f"{name}.{suffix}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"{KEY}.{suffix}",
            )
    show_methods(everything)
