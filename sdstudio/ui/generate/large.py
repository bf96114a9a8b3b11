"""One picture large: all of its settings, what people say of it, and the ways on from it."""

from pathlib import Path

import streamlit as st

from sdstudio import collection
from sdstudio.collection.marks import HIGHEST, NO_MARKS
from sdstudio.guidance import attend_and_excite
from sdstudio.pictures.attention_maps import read_maps
from sdstudio.schema import GeneratedImage, from_json
from sdstudio.schema.samplers import sampler_label
from sdstudio.ui.files import job_png_url
from sdstudio.ui.generate.filling import fill_from, more_like
from sdstudio.ui.pictures import model_label
from sdstudio.ui.session import told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace

PARTS = ("eyes", "face", "hands", "hair", "background")
"""What often goes wrong in a picture; any other word may be written."""
DELETED = "generate.deleted"
TINY = 192


@st.dialog("Picture", width="large")
def show_picture(workspace: Workspace, file: Path, image: GeneratedImage) -> None:
    """The dialog of one picture, whose file lies in a batch, a run or an evaluation."""
    if not file.is_file():  # it was deleted here, and only the dialog was run again
        st.rerun()
    picture = collection.reference(workspace, file)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        tiny = " tiny" if max(image.width, image.height) <= TINY else ""
        source = job_png_url(workspace, file)
        st.html(f'<img class="studio-picture{tiny}" src="{source}" alt="The picture">')
        attention(file, image)
        marks(workspace, picture)
    with right:
        st.text(image.prompt or "no prompt")
        flags(image)
        st.table(facts(image), border="horizontal", hide_index=True, hide_header=True)
        ways_on(workspace, file, picture, image)


def attention(file: Path, image: GeneratedImage) -> None:
    """Where the model looked for each word that was to be seen."""
    if image.settings.guidance != attend_and_excite.RECORD.name:
        return
    options = from_json(attend_and_excite.Options, image.settings.guidance_options)
    maps = read_maps(file, attend_and_excite.chosen(options))
    if maps:
        st.caption("Where each word was looked for at last")
        with st.container(horizontal=True):
            for word, square in maps.items():
                st.image(square.resize((96, 96)), caption=literal(word), width=96)


def facts(image: GeneratedImage) -> dict[str, list[str]]:
    """All settings of the picture: a column of names and one of values."""
    settings = image.settings
    rows = {
        "Model": model_label(image),
        "Negative prompt": image.negative_prompt,
        "Seed": str(image.seed),
        "Size": f"{image.width} × {image.height} px",
        "Steps": str(settings.steps),
        "Guidance scale": f"{settings.guidance_scale:g}",
        "Sampler": sampler_label(settings.scheduler) or "the model's own",
        "CLIP skip": str(settings.clip_skip or ""),
        "Guidance": "" if settings.guidance == "plain" else settings.guidance.replace("_", " "),
        "Checkpoint": image.checkpoint_hash[:10],
    }
    rows |= {extra.checkpoint: f"× {extra.weight:g}" for extra in image.model.extras}
    shown = {name: literal(value) for name, value in rows.items() if value}
    return {"Setting": list(shown), "Value": list(shown.values())}


def flags(image: GeneratedImage) -> None:
    """What was not asked for, as a warning each."""
    for flag in image.flags:
        st.markdown(f":orange[⚠] {literal(flag)}")


def marks(workspace: Workspace, picture: str) -> None:
    """Stars, favourite, and what went wrong; each is kept at once."""
    said = collection.read_marks(workspace).get(picture, NO_MARKS)
    key = f"mark-{picture}"
    st.session_state.setdefault(f"{key}-stars", said.rating - 1 if said.rating else None)
    st.session_state.setdefault(f"{key}-favourite", said.favourite)
    st.session_state.setdefault(f"{key}-bad", said.bad or None)

    def rated() -> None:
        stars = st.session_state[f"{key}-stars"]
        collection.mark(workspace, picture, "rating", 0 if stars is None else stars + 1)

    def liked() -> None:
        collection.mark(workspace, picture, "favourite", st.session_state[f"{key}-favourite"])

    def went_wrong() -> None:
        collection.mark(workspace, picture, "bad", st.session_state[f"{key}-bad"] or "")

    with st.container(horizontal=True, vertical_alignment="center"):
        st.feedback("stars" if HIGHEST == 5 else "faces", key=f"{key}-stars", on_change=rated)
        st.toggle("Favourite", key=f"{key}-favourite", on_change=liked)
    st.selectbox(
        "Mark as bad",
        [*dict.fromkeys([*PARTS, *([said.bad] if said.bad else [])])],
        key=f"{key}-bad",
        on_change=went_wrong,
        accept_new_options=True,
        placeholder="what went wrong, such as eyes",
        help="A training with SAM can take what is marked here as its negative examples.",
    )


def ways_on(workspace: Workspace, file: Path, picture: str, image: GeneratedImage) -> None:
    """Back to the form, the next seeds, the file, and the trash."""
    again = st.button(
        "Use these settings", icon=":material/tune:", width="stretch", on_click=fill_from, args=(workspace, image)
    )
    more = st.button(
        "More like this",
        icon=":material/auto_awesome_motion:",
        width="stretch",
        help="The same settings with the next four seeds.",
        on_click=more_like,
        args=(workspace, image),
    )
    st.download_button(
        "Download PNG",
        data=file.read_bytes(),
        file_name=f"{file.parent.name}-{file.name}",
        mime="image/png",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
    )
    deleted = st.button(
        "Delete",
        icon=":material/delete:",
        width="stretch",
        help="It can be brought back.",
        on_click=_delete,
        args=(workspace, picture),
    )
    if again or more or deleted:
        st.rerun()


def _delete(workspace: Workspace, picture: str) -> None:
    with told():
        collection.mark(workspace, picture, "deleted")
        st.session_state[DELETED] = picture


def undo_delete(workspace: Workspace) -> None:
    """What was deleted last, with a button that brings it back."""
    picture = st.session_state.get(DELETED)
    if not picture:
        return

    def restore() -> None:
        with told():
            collection.mark(workspace, st.session_state.pop(DELETED), "restored")

    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"Deleted {literal(Path(picture).name)}.")
        st.button("Undo", icon=":material/undo:", type="tertiary", on_click=restore)
