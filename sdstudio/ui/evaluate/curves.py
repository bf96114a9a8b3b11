"""The tab Curves: losses and measurements over a run's steps, and which of its checkpoints to keep."""

from collections.abc import Mapping, Sequence

import streamlit as st

from sdstudio import jobs
from sdstudio.evaluation.boards import Board, Line, list_boards
from sdstudio.models import list_checkpoints
from sdstudio.schema import Job, Metric
from sdstudio.ui.charts import compare_chart, metric_chart
from sdstudio.ui.evaluate.picker import show_picker
from sdstudio.ui.evaluate.scoreboard import board_label
from sdstudio.ui.session import in_address, page_file
from sdstudio.ui.text import count
from sdstudio.ui.train.compare import labels_of
from sdstudio.workspace import Workspace

KEY = "curves"
MOST = 6
LOSSES = {"loss": "Training loss (smoothed)", "val_loss": "Validation loss"}


def show(workspace: Workspace) -> None:
    runs = [job for job in jobs.list_jobs(workspace, "train") if job.done]
    if not runs:
        st.info("Curves appear with the first training run.", icon=":material/show_chart:")
        st.page_link(page_file("train"), label="Open Train", icon=":material/arrow_forward:")
        return
    chosen = choose_runs(runs)
    if not chosen:
        st.caption("Choose one run or more.")
        return
    show_losses(chosen)
    boards = {board.hash: board for board in list_boards(workspace) if any(lines_of(board, chosen).values())}
    if not boards:
        offer_to_measure(workspace, chosen)
        return
    hash = st.selectbox(
        "Measured under", list(boards), format_func=lambda hash: board_label(boards[hash]), key=f"{KEY}.board"
    )
    board = boards[hash]
    lines = lines_of(board, chosen)
    show_measurements(board, lines)
    offer_to_measure(workspace, chosen)
    show_picker(board, [line for found in lines.values() for line in found])


def choose_runs(runs: Sequence[Job]) -> dict[str, Job]:
    """The runs by their labels; the address may name them as `runs`."""
    by_id, labels = {job.id: job for job in runs}, labels_of(runs)
    wanted = [id for id in in_address("runs").split(",") if id in by_id] or [runs[0].id]
    picked = st.multiselect(
        "Runs", list(by_id), default=wanted, format_func=labels.__getitem__, max_selections=MOST, key=f"{KEY}.runs"
    )
    return {labels[id]: by_id[id] for id in picked}


def show_losses(runs: Mapping[str, Job]) -> None:
    metrics = {label: jobs.read_metrics(job) for label, job in runs.items()}
    with st.grid(columns=2, min_column_width=360):
        for name, title in LOSSES.items():
            with st.container():
                compare_chart(metrics, name, title)


def lines_of(board: Board, runs: Mapping[str, Job]) -> dict[str, list[Line]]:
    """The lines of the board that are checkpoints of each run, in the order of their steps."""
    found: dict[str, list[Line]] = {label: [] for label in runs}
    by_id = {job.id: label for label, job in runs.items()}
    for line in board.lines:
        if line.figures and line.figures.run in by_id:
            found[by_id[line.figures.run]].append(line)
    return {label: sorted(lines, key=step_of) for label, lines in found.items()}


def step_of(line: Line) -> int:
    return line.figures.step if line.figures else 0


def show_measurements(board: Board, lines: Mapping[str, Sequence[Line]]) -> None:
    """Every measure over the recorded steps, with the base model and the floor as lines."""
    names = {metric.name: metric for metric in board.metrics}
    chosen = st.pills(
        "Measures",
        list(names),
        selection_mode="multi",
        default=list(names)[:4],
        format_func=lambda name: names[name].label,
        key=f"{KEY}.metrics.{board.hash}",
    )
    with st.grid(columns=2, min_column_width=360):
        for name in chosen:
            with st.container():
                show_measurement(board, lines, names[name])


def show_measurement(board: Board, lines: Mapping[str, Sequence[Line]], metric: Metric) -> None:
    rows = []
    for label, found in lines.items():
        for line in found:
            cell = line.cells.get(metric.name)
            if cell and cell.result.value is not None:
                low, high = cell.result.interval or (None, None)
                rows.append({"run": label, "step": step_of(line), "value": cell.result.value, "low": low, "high": high})
    bases = [line.cells.get(metric.name) for line in board.lines if line.role == "base"]
    base = next((cell.result.value for cell in bases if cell), None)
    floor = board.floor.get(metric.name)
    marks = {"Base model": base, "Floor": floor.value if floor else None}
    metric_chart(rows, {name: value for name, value in marks.items() if value is not None}, metric.label, metric.better)


def offer_to_measure(workspace: Workspace, runs: Mapping[str, Job]) -> None:
    """The way to a comparison of all recorded checkpoints of the runs."""
    ids = {job.id for job in runs.values()}
    refs = [found.ref for found in list_checkpoints(workspace) if found.run in ids]
    if refs:
        st.page_link(
            page_file("evaluate"),
            label=f"Measure all {count(len(refs), 'recorded checkpoint')}",
            icon=":material/analytics:",
            query_params={"model": ",".join(refs), "table": "new"},
        )
    else:
        st.caption("These runs have no checkpoint to measure.")
