"""Where what a job made can be looked at."""

import streamlit as st

from sdstudio.jobs.folder import CONFIG_FILE
from sdstudio.schema import Job, UserError
from sdstudio.ui.session import page_file
from sdstudio.workspace import read_json

PLACES: dict[str, tuple[str, str, str]] = {
    "train": ("train", "run", "Open the run"),
    "generate": ("generate", "batch", "Open the pictures"),
    "grid": ("generate", "grid", "Open the grid"),
    "evaluate": ("evaluate", "table", "Open the comparison"),
    "logo": ("evaluate", "table", "Open what was found"),
    "shift": ("evaluate", "table", "Open the shift"),
    "caption": ("annotate", "job", "Open the dataset"),
    "import": ("annotate", "job", "Open the dataset"),
    "push": ("annotate", "job", "Open the dataset"),
    "try": ("annotate", "tries", "Open the drafts"),
    "export": ("train", "run", "Open the run"),
    "publish": ("train", "run", "Open the run"),
}
VIEWS = {"logo": "Logo and text", "shift": "Shift"}
"""The tab of the page for kinds that look at a comparison."""


def result_link(job: Job, short: bool = False) -> None:
    """A link to the page of the job's result; nothing for a kind that has none. `short`: without the noun."""
    if job.kind not in PLACES:
        return
    page, name, label = PLACES[job.kind]
    st.page_link(
        page_file(page),
        label="Open" if short else label,
        icon=":material/open_in_new:" if short else ":material/arrow_forward:",
        query_params=_address(job, page, name),
        help=label if short else None,
        width="content",
    )


def _address(job: Job, page: str, name: str) -> dict[str, str]:
    """What the page's address says: the job, with its dataset or, for one that takes a run's checkpoint, that run."""
    if page == "annotate":
        return {name: job.id, "dataset": _setting(job, "dataset")} | ({"view": "drafts"} if job.kind == "try" else {})
    if job.kind in ("export", "publish"):
        folder, _, rest = _setting(job, "checkpoint").partition("/")
        return {name: rest.split("/")[0] if folder == "runs" else folder}
    if job.kind in VIEWS:
        return {name: _setting(job, "comparison"), "view": VIEWS[job.kind]}
    return {name: job.id} | ({"view": "Grid"} if job.kind == "grid" else {})


def _setting(job: Job, name: str) -> str:
    try:
        return str(read_json(job.folder / CONFIG_FILE).get(name, ""))
    except UserError:
        return ""
