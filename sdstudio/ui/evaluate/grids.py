"""The tab Pictures: what the models drew, side by side."""

from pathlib import Path

import streamlit as st

from sdstudio import jobs
from sdstudio.results import Evaluation, read_evaluation
from sdstudio.ui.files import job_png_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.session import choose_job, told
from sdstudio.workspace import Workspace

PROMPTS_A_PAGE = 5


def show(workspace: Workspace) -> None:
    tables = [job for job in jobs.list_jobs(workspace, "evaluate") if job.state == "succeeded"]
    if not tables:
        st.info("There are no pictures to look at yet: compare models first.", icon=":material/grid_view:")
        return
    with told():
        job = jobs.get_job(workspace, choose_job(tables, "table", "Comparison"))
        show_pictures(workspace, job.folder, read_evaluation(job.folder))


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
