"""Compare what was trained with its base model: a protocol that submits, a table that says how sure it is."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.datasets import list_datasets
from sdstudio.results import (
    Evaluation,
    best,
    cells,
    count_text,
    decimals,
    interval_text,
    metrics_of,
    read_evaluation,
    results_table,
)
from sdstudio.schema import Job, Metric, MetricResult, ModelRef, Protocol, SampleSettings, from_json, to_json
from sdstudio.starter.examples import starter_protocol
from sdstudio.ui.files import job_png_url
from sdstudio.ui.forms import config_form
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.job_card import follow, is_live
from sdstudio.ui.models import trained_models
from sdstudio.ui.session import choose_job, in_address, page_file, put_in_address, told
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace, current_workspace

NEW_TABLE = "new"
PROMPTS_A_PAGE = 5
DOWNLOADS = (
    ("report.html", "Report with pictures", "text/html"),
    ("table.csv", "Table as CSV", "text/csv"),
    ("table.tex", "Table as LaTeX", "text/x-tex"),
)


def main() -> None:
    workspace = current_workspace()
    st.title("Evaluate")
    tables = jobs.list_jobs(workspace, "evaluate")
    if not tables or in_address("table") == NEW_TABLE:
        if tables and st.button("Back to the comparisons", icon=":material/arrow_back:", key="back"):
            put_in_address("table", "")
            st.rerun()
        show_form(workspace)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        table = choose_job(tables, "table", "Comparison")
        if st.button("New comparison", icon=":material/add:", type="primary", key="new-table"):
            put_in_address("table", NEW_TABLE)
            st.rerun()
    with told():
        follow(workspace, table, lambda job: show_log(job))
        job = jobs.get_job(workspace, table)
        if job.state == "succeeded":
            show_evaluation(workspace, job, read_evaluation(job.folder))


# ---------------------------------------------------------------- a new comparison


def show_form(workspace: Workspace) -> None:
    trained = trained_models(workspace)
    if not trained:
        st.info("There is nothing to compare yet: train a model first.", icon=":material/model_training:")
        st.page_link(page_file("train"), label="Open Train", icon=":material/arrow_forward:")
        return
    st.markdown(
        "Every model gets the same prompts with the same seeds, and so does its base model. "
        "The reference pictures are real ones that nothing was trained on.",
        width=720,
    )
    protocol = starter_protocol([])
    models = choose_models(trained)
    name = st.text_input("Name", value=protocol.name, key="evaluate.name", persist_state="session")
    prompts = lines(
        "Prompts", protocol.prompts, "One a line. '{trigger}' becomes the word that calls what the model learned."
    )
    drift = lines(
        "Prompts without the trigger",
        protocol.drift_prompts,
        "One a line; they show what else the training has changed.",
    )
    with st.grid(columns=2, min_column_width=260):
        with st.container():
            seeds = st.number_input(
                "Pictures per prompt", min_value=1, max_value=64, value=len(protocol.seeds), key="evaluate.seeds"
            )
        with st.container():
            reference = choose_reference(workspace, protocol.reference)
    metrics = choose_metrics(protocol.metrics)
    with st.expander("How pictures are drawn"):
        settings = config_form(
            SampleSettings,
            key="evaluate.settings",
            skip=("seed", "negative_prompt", "guidance"),
            defaults=to_json(protocol.settings),
        )
    each = (len(prompts) + len(drift)) * int(seeds)
    st.caption(f"This draws {count(each, 'picture')} from each trained model and from its base model.")
    if st.button("Compare", type="primary", icon=":material/analytics:", key="compare"):
        with told():
            config = Protocol(
                name=name.strip(),
                models=[trained[ref] for ref in models],
                prompts=prompts,
                drift_prompts=drift,
                seeds=list(range(1, int(seeds) + 1)),
                reference=reference,
                metrics=metrics,
                settings=from_json(SampleSettings, settings),
            )
            put_in_address("table", jobs.submit(workspace, "evaluate", config, config.name).id)
            st.rerun()


def choose_models(trained: dict[str, ModelRef]) -> list[str]:
    key, wanted = "evaluate.models", [ref for ref in in_address("model").split(",") if ref in trained]
    if wanted:
        st.session_state[key] = wanted
        put_in_address("model", "")
    return st.multiselect(
        "Models to compare with their base model",
        list(trained),
        default=None if key in st.session_state else list(trained)[:1],
        format_func=lambda ref: trained[ref].label if ref in trained else ref,
        key=key,
    )


def lines(label: str, default: Sequence[str], help: str) -> list[str]:
    text = st.text_area(
        f"{label}", value="\n".join(default), height=140, key=f"evaluate.{label}", help=help, persist_state="session"
    )
    return [line.strip() for line in text.splitlines() if line.strip()]


def choose_reference(workspace: Workspace, default: str) -> str:
    names = [item.name for item in list_datasets(workspace) if item.images]
    return (
        st.selectbox(
            "Reference pictures",
            names,
            index=names.index(default) if default in names else None,
            key="evaluate.reference",
            help="A dataset of real pictures in the style, or of the thing, that no model here was trained on.",
        )
        or ""
    )


def choose_metrics(default: Sequence[str]) -> list[str]:
    metrics: dict[str, Metric] = dict(registry.load("sdstudio.metrics"))
    return st.pills(
        "Measures",
        list(metrics),
        selection_mode="multi",
        default=[name for name in default if name in metrics],
        format_func=lambda name: metrics[name].label,
        key="evaluate.metrics",
        help="  \n".join(f"**{literal(metric.label)}**: {literal(metric.summary)}" for metric in metrics.values()),
    )


# ---------------------------------------------------------------- a comparison


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
    show_pictures(workspace, job.folder, evaluation)


def show_table(results: Sequence[MetricResult]) -> None:
    """A row per model; each cell says value, 95% interval and N, the best value in bold where rows can be ranked."""
    import pandas

    metrics = metrics_of(results)
    leaders = {metric.name: best(results, metric) for metric in metrics}
    rows = []
    for model, row in cells(results).items():
        line = {"Model": literal(model)}
        for metric in metrics:
            text = literal(cell_text(row.get(metric.name), results))
            line[heading(metric)] = f"**{text}**" if leaders[metric.name] == model else text
        rows.append(line)
    st.table(pandas.DataFrame(rows), border="horizontal", hide_index=True)
    extractors = ", ".join(dict.fromkeys(result.extractor for result in results if result.extractor))
    st.caption(
        "Brackets: 95% interval. N: pictures measured, 'vs' real ones. ↑ higher is better, ↓ lower. "
        "Bold: the best value of rows that can be ranked; where intervals overlap it proves no difference. "
        f"Pictures are seen through {literal(extractors)}."
    )


def heading(metric: Metric) -> str:
    return f"{metric.label} {'↑' if metric.better == 'higher' else '↓'}"


def cell_text(cell: MetricResult | None, results: Sequence[MetricResult]) -> str:
    if cell is None:
        return ""
    if cell.value is None:
        return "refused, see below"
    places = decimals([result.value or 0.0 for result in results if result.metric == cell.metric])
    interval = interval_text(cell.interval, places)
    return " ".join(part for part in (f"{cell.value:.{places}f}", interval, f"(N {count_text(cell)})") if part)


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


def show_pictures(workspace: Workspace, folder: Path, evaluation: Evaluation) -> None:
    st.subheader("Same prompt, same seed")
    prompts = list(dict.fromkeys(picture.prompt for row in evaluation.rows for picture in row.pictures))
    pages = -(-len(prompts) // PROMPTS_A_PAGE)
    page = st.pagination(pages, key="prompts-page") if pages > 1 else 1
    for prompt in prompts[(page - 1) * PROMPTS_A_PAGE : page * PROMPTS_A_PAGE]:
        items = [
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
        gallery(items, key=f"pictures-{folder.name}-{prompts.index(prompt)}", cell=8)


main()
