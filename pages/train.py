"""Start a run, and watch it: loss, samples, log, and what to do when it ends."""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.datasets import DatasetInfo, list_datasets, open_dataset
from sdstudio.schema import Job, LoopConfig, Method, TrainConfig, from_json
from sdstudio.ui.charts import loss_chart
from sdstudio.ui.files import thumb_url
from sdstudio.ui.forms import config_form
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.job_card import follow, is_live
from sdstudio.ui.models import base_model_picker, latest_of_run, trained_models
from sdstudio.ui.pictures import png_items, read_images
from sdstudio.ui.session import choose_job, in_address, page_file, put_in_address, told
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace, current_workspace, read_json

NEW_RUN = "new"
PREVIEW = 20
SAMPLES_SHOWN = 4


def main() -> None:
    workspace = current_workspace()
    st.title("Train")
    runs = jobs.list_jobs(workspace, "train")
    if not runs or in_address("run") == NEW_RUN:
        if runs and st.button("Back to the runs", icon=":material/arrow_back:", key="back"):
            put_in_address("run", "")
            st.rerun()
        show_form(workspace)
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run = choose_job(runs, "run", "Run")
        if st.button("New run", icon=":material/add:", type="primary", key="new-run"):
            put_in_address("run", NEW_RUN)
            st.rerun()
    with told():
        follow(workspace, run, lambda job: show_run(workspace, job))
        show_next(workspace, run)


# ---------------------------------------------------------------- a new run


def show_form(workspace: Workspace) -> None:
    datasets = [item for item in list_datasets(workspace) if item.images]
    if not datasets:
        st.info("There is nothing to learn from yet. Bring pictures in first.", icon=":material/photo_library:")
        st.page_link(page_file("annotate"), label="Open Annotate", icon=":material/arrow_forward:")
        return
    methods = registry.load("sdstudio.methods")
    with st.grid(columns=2, min_column_width=260):
        with st.container():
            dataset = choose_dataset(datasets)
        with st.container():
            base_model = base_model_picker(workspace, key="train.base_model")
    show_dataset(workspace, dataset)
    st.subheader("Method")
    method = choose_method(methods)
    options = config_form(method.Options, key=f"train.{method.name}", advanced_label=f"More settings of {method.label}")
    st.subheader("Training")
    loop = config_form(LoopConfig, key="train.loop", advanced_label="More settings of the training loop")
    name = st.text_input("Name of the run", placeholder=f"{method.name} {dataset.name}", key="train.name")
    if st.button("Start training", type="primary", icon=":material/play_arrow:", key="start"):
        with told():
            config = TrainConfig(
                name=name.strip(),
                dataset=dataset.name,
                base_model=base_model,
                method=method.name,
                method_options=options,
                loop=from_json(LoopConfig, loop),
            )
            put_in_address("run", jobs.submit(workspace, "train", config).id)
            st.rerun()


def choose_dataset(datasets: list[DatasetInfo]) -> DatasetInfo:
    by_name = {item.name: item for item in datasets}
    captioned = next((place for place, item in enumerate(datasets) if item.captioned == item.images), 0)
    name = st.selectbox("Dataset", list(by_name), index=captioned, key="train.dataset", persist_state="session")
    return by_name[name]


def show_dataset(workspace: Workspace, dataset: DatasetInfo) -> None:
    st.caption(f"{count(dataset.images, 'picture')}, {dataset.captioned:,} captioned. {literal(dataset.description)}")
    if dataset.captioned < dataset.images:
        bare = count(dataset.images - dataset.captioned, "picture has", "pictures have")
        st.warning(f"{bare} no caption and would be learned without words: write captions on the Annotate page first.")
    pictures = open_dataset(workspace, dataset.name).images()[:PREVIEW]
    gallery(
        [Item(image.id, thumb_url(dataset.name, image.id)) for image in pictures], key="preview", cell=5, one_row=True
    )


def choose_method(methods: Mapping[str, Method]) -> Method:
    name = st.segmented_control(
        "Method",
        list(methods),
        format_func=lambda key: methods[key].label,
        default="lora" if "lora" in methods else next(iter(methods)),
        required=True,
        key="train.method",
        persist_state="session",
        label_visibility="collapsed",
    )
    method = methods[name]
    st.caption(literal(method.summary))
    return method


# ---------------------------------------------------------------- a run


def show_run(workspace: Workspace, job: Job) -> None:
    metrics = jobs.read_metrics(job)
    if metrics or is_live(job):
        st.subheader("Loss")
        loss_chart(metrics)
    show_samples(workspace, job)
    with st.expander("Settings", icon=":material/tune:"):
        st.json(read_json(job.folder / "config.json"))
    with st.expander("Log", icon=":material/terminal:"):
        st.code(jobs.read_log(job) or "Nothing yet.", language=None, wrap_lines=True)


def show_samples(workspace: Workspace, job: Job) -> None:
    folders = sorted(job.folder.glob("samples/step-*"), reverse=True)
    if not folders:
        return
    st.subheader("Samples")
    st.caption("The same prompts and seeds at each step, the newest first.")
    for folder in folders[:SAMPLES_SHOWN]:
        show_step(workspace, job, folder)
    if folders[SAMPLES_SHOWN:]:
        with st.expander(f"{count(len(folders) - SAMPLES_SHOWN, 'earlier step')}"):
            for folder in folders[SAMPLES_SHOWN:]:
                show_step(workspace, job, folder)


def show_step(workspace: Workspace, job: Job, folder: Path) -> None:
    prompts = {image.file: image.prompt for image in read_images(folder)}
    items = png_items(workspace, sorted(folder.glob("*.png")), prompts)
    if items:
        st.markdown(f"**Step {int(folder.name.removeprefix('step-')):,}**")
        gallery(items, key=f"samples-{job.id}-{folder.name}", cell=8)


def show_next(workspace: Workspace, run: str) -> None:
    checkpoint = latest_of_run(trained_models(workspace), run)
    if not checkpoint:
        return
    with st.container(horizontal=True):
        st.page_link(
            page_file("generate"),
            label="Make pictures with it",
            icon=":material/brush:",
            query_params={"model": checkpoint},
        )
        st.page_link(
            page_file("evaluate"),
            label="Compare it with the base model",
            icon=":material/analytics:",
            query_params={"model": checkpoint, "table": "new"},
        )


main()
