"""The tab Pictures: the models side by side, the worst pictures, and those nearest to a training picture."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from sdstudio import jobs
from sdstudio.datasets import open_dataset
from sdstudio.evaluation.boards import Cell
from sdstudio.evaluation.measuring import trained_on
from sdstudio.results import Evaluation, Row, decimals, metrics_of, read_evaluation
from sdstudio.schema import MetricResult, UserError
from sdstudio.ui.evaluate.cell import items, scored_pictures
from sdstudio.ui.files import job_png_url, picture_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.session import choose_job, told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

KEY = "pictures"
PROMPTS_A_PAGE = 5
SHOWN = 12
COPIES = "copy_rate"
View = Callable[[Workspace, str, Evaluation], None]


def show(workspace: Workspace) -> None:
    tables = [job for job in jobs.list_jobs(workspace, "evaluate") if job.state == "succeeded"]
    if not tables:
        st.info("There are no pictures to look at yet: compare models first.", icon=":material/grid_view:")
        return
    with told():
        job = jobs.get_job(workspace, choose_job(tables, "table", "Comparison"))
        evaluation = read_evaluation(job.folder)
        view = st.segmented_control("Show", list(VIEWS), default=next(iter(VIEWS)), required=True, key=f"{KEY}.view")
        VIEWS[view](workspace, job.id, evaluation)


def side_by_side(workspace: Workspace, id: str, evaluation: Evaluation) -> None:
    show_pictures(workspace, workspace.evaluations / id, evaluation)


def show_pictures(workspace: Workspace, folder: Path, evaluation: Evaluation) -> None:
    """The same prompts and seeds from every model, a prompt a row."""
    st.subheader("Same prompt, same seed")
    prompts = list(dict.fromkeys(picture.prompt for row in evaluation.rows for picture in row.pictures))
    pages = -(-len(prompts) // PROMPTS_A_PAGE)
    page = st.pagination(pages, key="prompts-page") if pages > 1 else 1
    for prompt in prompts[(page - 1) * PROMPTS_A_PAGE : page * PROMPTS_A_PAGE]:
        shown = [
            Item(
                f"{row.key}/{picture.file}",
                job_png_url(workspace, folder / picture.file),
                row.label,
                f"seed {picture.seed}",
            )
            for row in evaluation.rows
            for picture in row.pictures
            if picture.prompt == prompt
        ]
        st.text(prompt)
        gallery(shown, key=f"pictures-{folder.name}-{prompts.index(prompt)}", cell=8)


def worst(workspace: Workspace, id: str, evaluation: Evaluation) -> None:
    """A model's worst pictures by a measure that has a value for each of them."""
    metrics = {metric.name: metric for metric in metrics_of(evaluation.results)}
    single = [name for name in metrics if any(one.per_picture for one in evaluation.results if one.metric == name)]
    if not single:
        st.caption("No measure of this comparison looks at pictures one by one: measure the CLIP score, for instance.")
        return
    with st.container(horizontal=True):
        row = choose_row(evaluation.rows)
        name = st.selectbox("By", single, format_func=lambda name: metrics[name].label, key=f"{KEY}.by", width=280)
    found = _cell(evaluation, id, row, name)
    if row is None or found is None:
        st.caption("This model has no such number.")
        return
    scored = scored_pictures(found, metrics[name])[::-1][:SHOWN]
    st.caption(f"The {len(scored)} worst, the worst first.")
    gallery(items(workspace, found, scored), key=f"worst-{id}-{row.key}-{name}", cell=9)


def copied(workspace: Workspace, id: str, evaluation: Evaluation) -> None:
    """A model's pictures that are nearest to one it was trained on, each beside that one."""
    row = choose_row([row for row in evaluation.rows if row.role == "trained"])
    found = _cell(evaluation, id, row, COPIES) if row else None
    if row is None or found is None or not found.result.nearest:
        st.caption("Measure the copy rate to see which pictures are nearest to a training picture.")
        return
    nearest, closeness = found.result.nearest, found.result.per_picture
    pictures = sorted(
        (one for one in row.pictures if one.file in nearest),
        key=lambda one: closeness.get(one.file, 0.0),
        reverse=True,
    )[:SHOWN]
    dataset = _dataset(workspace, row)
    digits = decimals([closeness.get(one.file, 0.0) for one in pictures])
    for flag in found.result.flags:
        st.caption(f":material/flag: {literal(flag)}")
    with st.grid(columns="auto", min_column_width=300):
        for picture in pictures:
            file, real = workspace.evaluations / id / picture.file, nearest[picture.file]
            value = f"{closeness[picture.file]:.{digits}f}" if picture.file in closeness else ""
            pair = [Item("drawn", job_png_url(workspace, file), picture.text, f"drawn · nearness {value}")]
            pair += [Item("real", picture_url(dataset, real), None, "trained on")] if dataset else []
            with st.container(border=True):
                gallery(pair, key=f"copied-{id}-{picture.file}", cell=7)


def choose_row(rows: Sequence[Row]) -> Row | None:
    labels = {row.key: row.label for row in rows}
    last = len(labels) - 1
    key = st.selectbox("Model", list(labels), index=max(last, 0), format_func=labels.__getitem__, key=f"{KEY}.model")
    return next((row for row in rows if row.key == key), None)


def _cell(evaluation: Evaluation, id: str, row: Row | None, metric: str) -> Cell | None:
    results: list[MetricResult] = [
        one for one in evaluation.results if row and one.metric == metric and one.model == row.label
    ]
    return Cell(result=results[0], evaluation=id, row=row) if results and row else None


def _dataset(workspace: Workspace, row: Row) -> str:
    """The dataset that holds the row's training pictures; '' where it is gone."""
    snapshot = trained_on(workspace, row.model.checkpoint)
    try:
        return open_dataset(workspace, snapshot.dataset).name if snapshot else ""
    except UserError:
        return ""


VIEWS: dict[str, View] = {
    "Side by side": side_by_side,
    f"Worst {SHOWN}": worst,
    f"Most copied {SHOWN}": copied,
}
