"""What the studio is, its four steps with what is done and what is next, and what happened last."""

from dataclasses import dataclass

import streamlit as st

from sdstudio import jobs
from sdstudio.collection import Query, pictures
from sdstudio.datasets import list_datasets, open_dataset
from sdstudio.schema import Job
from sdstudio.ui import starter
from sdstudio.ui.files import thumb_url
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.job_card import is_live, state_badge, times
from sdstudio.ui.jobs.describe import facts, kind_icon, title_of
from sdstudio.ui.jobs.live import details_link
from sdstudio.ui.pictures import picture_item
from sdstudio.ui.session import page_file
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace, current_workspace

NEWEST, RECENT = 10, 5
BATCHES = Query(source="batch")


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
    show_newest(workspace)
    show_recent(everything)


def steps(workspace: Workspace, everything: list[Job]) -> list[Step]:
    datasets = list_datasets(workspace)
    images, captioned = sum(item.images for item in datasets), sum(item.captioned for item in datasets)
    modified = sum(item.modified for item in datasets)
    succeeded = {
        kind: [job for job in everything if job.kind == kind and job.state == "succeeded"]
        for kind in ("train", "evaluate")
    }
    drawn = pictures(workspace, BATCHES, count=0).total
    runs, tables = len(succeeded["train"]), len(succeeded["evaluate"])
    live = {job.kind for job in everything if is_live(job)}
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
            _stands(count(runs, "finished run") if runs else "", "train" in live) or "No run yet",
            runs > 0,
        ),
        Step(
            "generate",
            ":material/brush:",
            "Generate",
            "Ask the base model and your own, side by side, with the same prompts and seeds.",
            _stands(f"{count(drawn, 'picture')} made" if drawn else "", "generate" in live) or "No picture yet",
            drawn > 0,
        ),
        Step(
            "evaluate",
            ":material/analytics:",
            "Evaluate",
            "Measure what was learned and what was forgotten, in a table that says how sure it is.",
            _stands(f"{count(tables, 'comparison')} finished" if tables else "", "evaluate" in live)
            or "No comparison yet",
            tables > 0,
        ),
    ]


def _stands(done: str, is_under_way: bool) -> str:
    if not is_under_way:
        return done
    return f"{done}, one under way" if done else "One under way"


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
                        st.badge("Next", color="orange")
                st.markdown(step.what)
                st.caption(step.stands)
                st.page_link(page_file(step.page), label=f"Open {step.title}", icon=":material/arrow_forward:")


def show_newest(workspace: Workspace) -> None:
    newest = pictures(workspace, BATCHES, count=NEWEST).pictures
    if newest:
        st.subheader("Your newest pictures")
        items = [picture_item(workspace, picture) for picture in newest]
        gallery(items, key="newest", cell=8, one_row=True)
        return
    example = next((item for item in list_datasets(workspace) if item.images and item.captioned == item.images), None)
    if example:
        st.subheader(f"To begin with: {literal(example.name)}")
        st.caption(literal(example.description) or "An example dataset that a model can learn from.")
        shown = open_dataset(workspace, example.name).images()[:NEWEST]
        gallery(
            [Item(picture.id, thumb_url(example.name, picture.id)) for picture in shown],
            key="example",
            cell=7,
            one_row=True,
        )


def show_recent(everything: list[Job]) -> None:
    begun = [job for job in everything if job.state != "queued"]
    if not begun:
        return
    st.subheader("What happened last")
    with st.container(border=True, key="jobs-recent", gap="xsmall"):
        for job in begun[:RECENT]:
            with st.container(horizontal=True, vertical_alignment="center", key=f"job-line-{job.id}"):
                state_badge(job, width=104)
                details_link(job, title_of(job), kind_icon(job.kind))
                st.caption(literal(f"{facts(job)} · {times(job)}"), width="content")
    if len(everything) > len(begun[:RECENT]):
        st.page_link(page_file("jobs"), label=f"All {len(everything):,} jobs", icon=":material/arrow_forward:")


@st.fragment(run_every=1)
def wait_for_examples(workspace: Workspace) -> None:
    if not starter.is_drawing(workspace):
        st.rerun(scope="app")
    st.info("The example pictures are being drawn; this takes a few seconds.", icon=":material/palette:")


main()
