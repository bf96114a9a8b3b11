"""Ask one or more models the same prompts with the same seeds, and look at what they drew."""

from collections.abc import Callable

import streamlit as st

from sdstudio import jobs
from sdstudio.image_folder import read_images
from sdstudio.schema import GenerateConfig, GeneratedImage, Job, from_json, to_json
from sdstudio.ui.files import job_png_url
from sdstudio.ui.forms import config_form
from sdstudio.ui.gallery import gallery
from sdstudio.ui.guidance import guidance_picker
from sdstudio.ui.job_card import follow, is_live
from sdstudio.ui.models import models_to_ask
from sdstudio.ui.pictures import image_items, model_label
from sdstudio.ui.session import choose_job, in_address, put_in_address, told
from sdstudio.ui.text import count, literal
from sdstudio.workspace import Workspace, read_json

OPENED = "opened-picture"


def show(workspace: Workspace) -> None:
    """The form, and below it the batch that is being looked at."""
    show_form(workspace)
    batches = jobs.list_jobs(workspace, "generate")
    if not batches:
        st.info("Your pictures appear here. Write a prompt above, then choose **Generate**.", icon=":material/brush:")
        return
    st.subheader("Pictures")
    batch = choose_job(batches, "batch", "Batch")
    with told():
        follow(workspace, batch, lambda job: show_batch(workspace, job))
        show_opened(workspace, batch)


# ---------------------------------------------------------------- ask


def show_form(workspace: Workspace) -> None:
    with st.container(border=True):
        models = models_to_ask(workspace)
        chosen = choose_models(list(models), lambda ref: models[ref].label)
        prompts = st.text_area(
            "Prompts",
            key="generate.prompts",
            placeholder="a smiling woman holding a balloon on a beach at night",
            height=110,
            persist_state="session",
            help="One prompt a line. Every model gets every prompt with the same seeds. "
            "`(red:1.3)` calls a word louder, `[red]` softer; `BREAK` begins a new window of 77 tokens; "
            "with Composable guidance `AND` and `AND NOT` join prompts.",
        )
        settings = config_form(GenerateConfig, key="generate", skip=("models", "prompts", "start", "settings.guidance"))
        settings["settings"] |= guidance_picker("generate")
        if st.button("Generate", type="primary", icon=":material/brush:", key="generate"):
            with told():
                lines = [line.strip() for line in prompts.splitlines() if line.strip()]
                asked = [to_json(models[ref]) for ref in chosen]
                config = from_json(GenerateConfig, {**settings, "models": asked, "prompts": lines})
                title = config.prompts[0][:60] if config.prompts else ""
                put_in_address("batch", jobs.submit(workspace, "generate", config, title).id)
                st.rerun()


def choose_models(refs: list[str], label: Callable[[str], str]) -> list[str]:
    """The base model and the newest trained one until the person, or the page of a run, chooses others."""
    key, wanted = "generate.models", in_address("model")
    newest = next((ref for ref in refs if ref.startswith("runs/")), "")
    if wanted in refs or key not in st.session_state:
        trained = wanted if wanted in refs else newest
        st.session_state[key] = [ref for ref in (refs[0], trained) if ref]
        put_in_address("model", "")
    return st.multiselect("Models", refs, format_func=label, key=key, persist_state="session")


# ---------------------------------------------------------------- look


def show_batch(workspace: Workspace, job: Job) -> None:
    images = side_by_side(read_images(job.folder))
    if not images:
        if not is_live(job):
            st.caption("This batch holds no pictures.")
        return
    st.caption(f"{count(len(images), 'picture')}. Choose one to see its settings and to download it.")
    show_flags(images)

    def opened(file: str) -> None:
        st.session_state[OPENED] = [job.id, file]
        st.rerun(scope="app")

    gallery(image_items(workspace, job.folder, images), key=f"batch-{job.id}", on_open=opened, cell=10)
    with st.expander("Settings of this batch", icon=":material/tune:"):
        st.json(read_json(job.folder / "config.json"))


def show_flags(images: list[GeneratedImage]) -> None:
    """What was not asked for, each once; the pictures that it holds for carry a warning sign."""
    for flag in dict.fromkeys(flag for image in images for flag in image.flags):
        st.markdown(f":orange[⚠] {literal(flag)}")


def side_by_side(images: list[GeneratedImage]) -> list[GeneratedImage]:
    """The same prompt and seed of each model next to one another, prompts in the order they were asked."""
    prompts = list(dict.fromkeys(image.prompt for image in images))
    return sorted(images, key=lambda image: (prompts.index(image.prompt), image.seed))


def show_opened(workspace: Workspace, batch: str) -> None:
    job_id, file = st.session_state.pop(OPENED, ("", ""))
    if job_id != batch:
        return
    job = jobs.get_job(workspace, job_id)
    image = next((image for image in read_images(job.folder) if image.file == file), None)
    if image is not None:
        show_picture(workspace, job, image)


@st.dialog("Picture", width="medium")
def show_picture(workspace: Workspace, job: Job, image: GeneratedImage) -> None:
    source = job_png_url(workspace, job.folder / image.file)
    tiny = " tiny" if max(image.width, image.height) <= 192 else ""
    st.html(f'<img class="studio-picture{tiny}" src="{source}" alt="The picture">')
    st.text(image.prompt)
    show_flags([image])
    facts = {
        "Model": model_label(image),
        "Seed": str(image.seed),
        "Size": f"{image.width} × {image.height} px",
        "Steps": str(image.settings.steps),
        "Guidance": f"{image.settings.guidance_scale:g}",
        "Sampler": image.settings.scheduler,
    }
    if image.negative_prompt:
        facts["Negative prompt"] = image.negative_prompt
    st.caption(" · ".join(f"{name} {literal(value)}" for name, value in facts.items()))
    st.download_button(
        "Download PNG",
        data=(job.folder / image.file).read_bytes(),
        file_name=f"{job.id}-{image.file.replace('/', '-')}",
        mime="image/png",
        icon=":material/download:",
        on_click="ignore",
    )
