"""One finished comparison: its table, what weakens its numbers, and its files."""

from collections.abc import Sequence

import streamlit as st

from sdstudio import jobs
from sdstudio.results import (
    Evaluation,
    cells,
    count_text,
    decimals_of,
    interval_text,
    metrics_of,
    rankings,
    results_table,
)
from sdstudio.results.methods import methods_text
from sdstudio.results.ranking import SHARED
from sdstudio.schema import Job, Metric, MetricResult
from sdstudio.ui.evaluate.grids import show_pictures
from sdstudio.ui.job_card import is_live
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

DOWNLOADS = (
    ("report.html", "Report with pictures", "text/html"),
    ("table.csv", "Table as CSV", "text/csv"),
    ("table.tex", "Table as LaTeX", "text/x-tex"),
    ("table.md", "Table as Markdown", "text/markdown"),
)
NO_BREAK = "\N{NO-BREAK SPACE}"


def show_log(job: Job) -> None:
    if is_live(job) or job.state != "succeeded":
        with st.expander("Log", icon=":material/terminal:"):
            st.code(jobs.read_log(job) or "Nothing yet.", language=None, wrap_lines=True)


def show_evaluation(workspace: Workspace, job: Job, evaluation: Evaluation) -> None:
    results = evaluation.results
    st.subheader("Results")
    show_table(results)
    show_flags(results)
    with st.container(horizontal=True):
        for file, label, mime in DOWNLOADS:
            path = job.folder / file
            if path.is_file():
                st.download_button(
                    label,
                    data=path.read_bytes(),
                    file_name=f"{job.id}-{file}",
                    mime=mime,
                    icon=":material/download:",
                    on_click="ignore",
                    key=f"download-{file}",
                )
    with st.expander("Every column", icon=":material/table:"):
        st.dataframe(results_table(results), hide_index=True)
        st.caption(f"Protocol {evaluation.protocol_hash[:12]}. Only rows of one protocol are ranked together.")
    show_methods(evaluation)
    show_pictures(workspace, job.folder, evaluation)


def show_methods(evaluation: Evaluation) -> None:
    """The paragraph for a paper, with a button that copies it."""
    with st.expander("Methods paragraph", icon=":material/article:"):
        st.code(methods_text(evaluation), language=None, wrap_lines=True)


def show_table(results: Sequence[MetricResult]) -> None:
    """A row per model; each cell says value, 95% interval and N, the best in bold where rows can be ranked."""
    import pandas

    metrics = metrics_of(results)
    places = rankings(results)
    rows = []
    for model, row in cells(results).items():
        line = {"Model": literal(model)}
        for metric in metrics:
            text = literal(cell_text(row.get(metric.name), results))
            line[heading(metric)] = f"**{text}**" if places[metric.name].places.get(model) == 1 else text
        rows.append(line)
    st.table(pandas.DataFrame(rows), border="horizontal", hide_index=True)
    extractors = ", ".join(dict.fromkeys(result.extractor for result in results if result.extractor))
    st.caption(
        "Brackets: 95% interval. N: pictures measured, 'vs' real ones. ↑ higher is better, ↓ lower. "
        f"Bold: the best of the rows that can be ranked; {SHARED}. "
        f"Pictures are seen through {literal(extractors)}."
    )


def heading(metric: Metric) -> str:
    return f"{metric.label} {'↑' if metric.better == 'higher' else '↓'}"


def cell_text(cell: MetricResult | None, results: Sequence[MetricResult]) -> str:
    if cell is None:
        return ""
    if cell.value is None:
        return "refused, see below"
    places = decimals_of(results, cell.metric)
    interval = interval_text(cell.interval, places)
    parts = (f"{cell.value:.{places}f}", interval, f"(N {count_text(cell)})")
    return " ".join(part.replace(" ", NO_BREAK) for part in parts if part)


def show_flags(results: Sequence[MetricResult]) -> None:
    """What weakens a number, once each, with the cells it holds for."""
    labels = {metric.name: metric.label for metric in metrics_of(results)}
    flagged: dict[str, dict[str, list[str]]] = {}
    for result in results:
        for flag in result.flags:
            flagged.setdefault(flag, {}).setdefault(labels.get(result.metric, result.metric), []).append(result.model)
    for flag, where in flagged.items():
        cells_concerned = "; ".join(f"{label} of {', '.join(models)}" for label, models in where.items())
        st.markdown(f":orange[:material/flag:] {literal(flag)} :small[:gray[{literal(cells_concerned)}]]")
