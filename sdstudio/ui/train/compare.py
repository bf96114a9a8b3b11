"""Several runs side by side: one chart of one number, the settings that differ, the way to a comparison of pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.models import list_checkpoints
from sdstudio.options import label_of
from sdstudio.schema import Job
from sdstudio.training.sweeps import differences, list_sweeps
from sdstudio.ui.charts import Metrics, compare_chart, series
from sdstudio.ui.job_card import POLL_SECONDS, is_live
from sdstudio.ui.jobs.describe import title_of
from sdstudio.ui.session import in_address, page_file, put_in_address
from sdstudio.ui.text import at, count, isolated, literal
from sdstudio.workspace import Workspace, read_json

KEY = "train.compare"
NUMBERS = {
    "loss": "Training loss",
    "val_loss": "Validation loss",
    "grad_norm": "Gradient norm",
    "lr": "Learning rate",
    "images_per_second": "Pictures per second",
}


def show_compare(workspace: Workspace, runs: Sequence[Job]) -> None:
    """The runs named in the address as `compare`, or those of the `sweep` that it names."""
    by_id = {job.id: job for job in runs}
    choose_sweep(workspace)
    labels = labels_of(runs)
    key = f"{KEY}.{in_address('sweep')}"
    if key not in st.session_state:
        st.session_state[key] = [id for id in wanted(workspace) if id in by_id]

    def chosen() -> None:
        st.query_params["compare"] = ",".join(st.session_state[key])

    picked = st.multiselect("Runs", list(by_id), format_func=labels.__getitem__, key=key, on_change=chosen)
    if not picked:
        st.caption("Choose two or more runs.")
        return
    name = st.segmented_control(
        "Number",
        list(NUMBERS),
        format_func=NUMBERS.__getitem__,
        default="loss",
        required=True,
        key=f"{KEY}.number",
        label_visibility="collapsed",
    )
    live = any(is_live(by_id[id]) for id in picked)

    @st.fragment(run_every=2 * POLL_SECONDS if live else None)
    def refresh() -> None:
        jobs.tick(workspace)
        found = {labels[id]: jobs.get_job(workspace, id) for id in picked}
        metrics = {label: jobs.read_metrics(job) for label, job in found.items()}
        compare_chart(metrics, name, NUMBERS[name])
        show_table(found, metrics)

    refresh()
    to_evaluate(workspace, picked)


def wanted(workspace: Workspace) -> list[str]:
    sweep = next((sweep for sweep in list_sweeps(workspace) if sweep.id == in_address("sweep")), None)
    return [cell.run for cell in sweep.cells] if sweep else in_address("compare").split(",")


def choose_sweep(workspace: Workspace) -> None:
    sweeps = {sweep.id: sweep for sweep in list_sweeps(workspace)}
    if not sweeps:
        return

    def chosen() -> None:
        put_in_address("sweep", st.session_state["train.sweep"] or "")

    now = in_address("sweep")
    if st.session_state.get("train.sweep") != now:
        st.session_state["train.sweep"] = now if now in sweeps else None
    st.selectbox(
        "Sweep",
        list(sweeps),
        index=None,
        format_func=lambda id: f"{sweeps[id].name} · {count(len(sweeps[id].cells), 'run')} · {at(sweeps[id].created)}",
        placeholder="Any runs",
        key="train.sweep",
        on_change=chosen,
    )


def labels_of(runs: Sequence[Job]) -> dict[str, str]:
    """Titles, with the time where two runs share one."""
    titles = [title_of(job) for job in runs]
    return {
        job.id: title if titles.count(title) == 1 else f"{isolated(title)} · {at(job.created)}"
        for job, title in zip(runs, titles, strict=True)
    }


def show_table(runs: Mapping[str, Job], metrics: Mapping[str, Metrics]) -> None:
    """A row for each run: its state, its numbers, and the settings that not all share."""
    import pandas

    configs = {label: read_json(job.folder / "config.json") for label, job in runs.items()}
    rows = []
    differ = {path: row for path, row in differences(configs).items() if path != "snapshot"}
    for label, job in runs.items():
        line: dict[str, Any] = {"Run": literal(label), "State": job.state, "Steps": f"{job.done:,} of {job.total:,}"}
        line |= {literal(label_of(path)): literal(_text(path, row[label])) for path, row in differ.items()}
        loss, measured = series(metrics[label], "loss"), series(metrics[label], "val_loss")
        line["Loss (smoothed)"] = "" if loss.empty else f"{loss['smoothed'].iloc[-1]:.4f}"
        if any(not series(other, "val_loss").empty for other in metrics.values()):
            line["Best validation loss"] = "" if measured.empty else f"{measured['value'].min():.4f}"
        rows.append(line)
    st.table(pandas.DataFrame(rows), border="horizontal", hide_index=True)
    if len(runs) > 1 and not differ:
        st.caption("All settings of these runs are the same.")


def _text(path: str, value: Any) -> str:
    if path == "method":
        method = registry.load("sdstudio.methods").get(value)
        return method.label if method else str(value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def to_evaluate(workspace: Workspace, runs: Sequence[str]) -> None:
    """The link that lands in Evaluate with the newest checkpoint of each run chosen."""
    newest: dict[str, str] = {}
    for found in list_checkpoints(workspace):
        newest.setdefault(found.run, found.ref)
    refs = [newest[run] for run in runs if run in newest]
    missing = len(runs) - len(refs)
    if refs:
        st.page_link(
            page_file("evaluate"),
            label=f"Compare the pictures of {count(len(refs), 'run')}",
            icon=":material/analytics:",
            query_params={"model": ",".join(refs), "table": "new"},
        )
    if missing:
        st.caption(f"{count(missing, 'run has', 'runs have')} no checkpoint yet.")
