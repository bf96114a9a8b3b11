"""Where what a job made can be looked at."""

import streamlit as st

from sdstudio.schema import Job, UserError
from sdstudio.ui.session import page_file
from sdstudio.workspace import read_json

PLACES: dict[str, tuple[str, str, str]] = {
    "train": ("train", "run", "Open the run"),
    "generate": ("generate", "batch", "Open the pictures"),
    "evaluate": ("evaluate", "table", "Open the comparison"),
    "caption": ("annotate", "job", "Open the dataset"),
    "import": ("annotate", "job", "Open the dataset"),
    "push": ("annotate", "job", "Open the dataset"),
    "try": ("annotate", "tries", "Open the drafts"),
}


def result_link(job: Job, short: bool = False) -> None:
    """A link to the page of the job's result; nothing for a kind that has none. `short`: without the noun."""
    if job.kind not in PLACES:
        return
    page, name, label = PLACES[job.kind]
    address = {name: job.id}
    if page == "annotate":
        address |= {"dataset": _dataset(job)} | ({"view": "drafts"} if job.kind == "try" else {})
    st.page_link(
        page_file(page),
        label="Open" if short else label,
        icon=":material/open_in_new:" if short else ":material/arrow_forward:",
        query_params=address,
        help=label if short else None,
        width="content",
    )


def _dataset(job: Job) -> str:
    try:
        return str(read_json(job.folder / "config.json").get("dataset", ""))
    except UserError:
        return ""
