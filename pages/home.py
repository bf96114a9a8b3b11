"""What the studio is, its four steps with what is done and what is next, and what happened last."""

from dataclasses import dataclass

import streamlit as st

from sdstudio import jobs
from sdstudio.datasets import list_datasets, open_dataset
from sdstudio.schema import Job
from sdstudio.ui import starter
from sdstudio.ui.files import thumb_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.job_card import BADGES
from sdstudio.ui.pictures import image_items, read_images
from sdstudio.ui.session import page_file
from sdstudio.ui.text import ago, count, literal
from sdstudio.workspace import Workspace, current_workspace

NEWEST = 10


@dataclass(frozen=True)
class Step:
    """One of the four steps, with where the person stands in it."""

    page: str
    icon: str
    title: str
    what: str
    stands: str
    done: bool


def main() -> None:
    workspace = current_workspace()
    st.title("Teach a model something new")
    st.markdown(
        "SD Studio teaches a Stable Diffusion model a new style, person or thing, and shows you whether it learned it. "
        "All of it happens on this machine: the bundled starter model goes the whole way without a GPU, "
        "a download or an account.",
        width=720,
    )
    st.space("small")
    if starter.is_drawing(workspace):
        wait_for_examples(workspace)
    if starter.problem(workspace):
        st.error(literal(starter.problem(workspace)))
    everything = jobs.list_jobs(workspace)
    show_steps(steps(workspace, everything))
    st.space("small")
    show_newest(workspace, everything)
    show_recent(everything)


def steps(workspace: Workspace, everything: list[Job]) -> list[Step]:
    datasets = list_datasets(workspace)
    images, captioned = sum(item.images for item in datasets), sum(item.captioned for item in datasets)
    modified = sum(item.modified for item in datasets)
    succeeded = {
        kind: [job for job in everything if job.kind == kind and job.state == "succeeded"]
        for kind in ("train", "evaluate")
    }
    drawn = sum(len(read_images(job.folder)) for job in everything if job.kind == "generate")
    runs, tables = len(succeeded["train"]), len(succeeded["evaluate"])
    return [
        Step(
            "annotate",
            ":material/edit_note:",
            "Annotate",
            "Bring pictures in, let BLIP draft captions, and put them right. Captions decide what is learned.",
            f"{captioned:,} of {count(images, 'picture')} captioned, {modified:,} by you"
            if images
            else "No pictures yet",
            bool(images) and captioned == images,
        ),
        Step(
            "train",
            ":material/model_training:",
            "Train",
            "Choose a method and start. The run goes on in the background and keeps what it has learned.",
            f"{count(runs, 'finished run')}" if runs else "No run yet",
            runs > 0,
        ),
        Step(
            "generate",
            ":material/brush:",
            "Generate",
            "Ask the base model and your own, side by side, with the same prompts and seeds.",
            f"{count(drawn, 'picture')} made" if drawn else "No picture yet",
            drawn > 0,
        ),
        Step(
            "evaluate",
            ":material/analytics:",
            "Evaluate",
            "Measure what was learned and what was forgotten, in a table that says how sure it is.",
            f"{count(tables, 'comparison')} finished" if tables else "No comparison yet",
            tables > 0,
        ),
    ]


def show_steps(four: list[Step]) -> None:
    following = next((step.page for step in four if not step.done), "")
    with st.grid(columns=2, min_column_width=260):
        for number, step in enumerate(four, start=1):
            with st.container(border=True, height="stretch", key=f"step-{step.page}"):
                with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                    st.markdown(f"### {step.icon} {number}. {step.title}")
                    if step.done:
                        st.badge("Done", color="green", icon=":material/check:")
                    elif step.page == following:
                        st.badge("Next", color="primary")
                st.markdown(step.what)
                st.caption(step.stands)
                st.page_link(page_file(step.page), label=f"Open {step.title}", icon=":material/arrow_forward:")


def show_newest(workspace: Workspace, everything: list[Job]) -> None:
    items: list[Item] = []
    for job in everything:
        if job.kind == "generate" and len(items) < NEWEST:
            items += image_items(workspace, job.folder, read_images(job.folder)[::-1])
    if items:
        st.subheader("Your newest pictures")
        gallery(items[:NEWEST], key="newest", cell=8, one_row=True)
        return
    example = next((item for item in list_datasets(workspace) if item.images and item.captioned == item.images), None)
    if example:
        st.subheader(f"To begin with: {literal(example.name)}")
        st.caption(literal(example.description) or "An example dataset that a model can learn from.")
        pictures = open_dataset(workspace, example.name).images()[:NEWEST]
        gallery(
            [Item(picture.id, thumb_url(example.name, picture.id)) for picture in pictures],
            key="example",
            cell=7,
            one_row=True,
        )


def show_recent(everything: list[Job]) -> None:
    if not everything:
        return
    st.subheader("What happened last")
    for job in everything[:5]:
        color, icon = BADGES[job.state]
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(job.state, color=color, icon=icon)
            st.markdown(literal(job.title or job.kind), width="content")
            st.caption(ago(job.ended or job.created), width="content")


@st.fragment(run_every=1)
def wait_for_examples(workspace: Workspace) -> None:
    if not starter.is_drawing(workspace):
        st.rerun(scope="app")
    st.info("The example pictures are being drawn; this takes a few seconds.", icon=":material/palette:")


main()
