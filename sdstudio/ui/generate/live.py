"""The batch that is being looked at: how far it is, a rough look at what forms, and the pictures that are there."""

import base64
from pathlib import Path

import streamlit as st

from sdstudio.interactive import Batch, GenerationHub
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import UserError
from sdstudio.ui.generate.compare import side_by_side
from sdstudio.ui.job_card import follow
from sdstudio.ui.session import in_address, put_in_address
from sdstudio.ui.text import at, count, duration, literal
from sdstudio.workspace import Workspace, read_json

BATCH = "batch"
OPENED = "generate.opened"
POLL = 0.5
LISTED = 40
CANCELLING = "Cancelled: the model is still being read. It ends as soon as that is done, and nothing more is drawn."
_LABELS = {
    "waiting": "Waiting",
    "loading": "Reading the model",
    "drawing": "Drawing",
    "done": "Done",
    "stopped": "Stopped",
    "failed": "Not drawn",
}


def hub_of(workspace: Workspace) -> GenerationHub:
    """The one hub of this workspace, the same for every session."""
    return _hub(str(workspace.root))


@st.cache_resource(show_spinner=False)
def _hub(root: str) -> GenerationHub:
    return GenerationHub(Workspace(Path(root)))


def show_batches(workspace: Workspace) -> None:
    """The chosen batch, live while it is drawn; the newest until another is chosen."""
    folders = _folders(workspace)
    if not folders:
        st.info("Your pictures appear here. Write a prompt above, then choose **Generate**.", icon=":material/brush:")
        return
    batch = _choose(folders)
    hub = hub_of(workspace)
    if hub.batch(batch) is not None:
        _follow(workspace, hub, batch)
        return
    if (folders[batch] / "state.json").is_file():
        try:
            follow(workspace, batch, lambda job: show_pictures(workspace, job.folder))
        except UserError as error:
            st.error(literal(str(error)))
        return
    show_pictures(workspace, folders[batch])


def _folders(workspace: Workspace) -> dict[str, Path]:
    """The batches by their ids, the newest first."""
    found = (file.parent for file in workspace.images.glob("*/config.json"))
    return {folder.name: folder for folder in sorted(found, reverse=True)[:LISTED]}


def _choose(folders: dict[str, Path]) -> str:
    """A picker of the batch, whose choice is in the address."""
    key, wanted = "choose-batch", in_address(BATCH)
    if wanted in folders and st.session_state.get(key) != wanted:
        st.session_state[key] = wanted

    def chosen() -> None:
        put_in_address(BATCH, st.session_state[key])

    labels = {name: _label(folder) for name, folder in folders.items()}
    return st.selectbox("Batch", list(labels), format_func=labels.__getitem__, key=key, on_change=chosen)


def _label(folder: Path) -> str:
    """The first prompt and when it was asked for."""
    try:
        prompts = read_json(folder / "config.json").get("prompts") or [""]
    except UserError:
        prompts = [""]
    more = f" and {len(prompts) - 1} more" if len(prompts) > 1 else ""
    return f"{prompts[0][:70] or 'no prompt'}{more} · {at((folder / 'config.json').stat().st_mtime)}"


def _follow(workspace: Workspace, hub: GenerationHub, batch_id: str) -> None:
    """The batch's card and pictures, looked at again and again while it lives; at its end the page runs once."""
    first = hub.batch(batch_id)
    live = first is not None and first.is_live

    @st.fragment(run_every=POLL if live else None)
    def refresh() -> None:
        batch = hub.batch(batch_id)
        if batch is None or (live and not batch.is_live):
            st.rerun(scope="app")
        _card(hub, batch)
        show_pictures(workspace, batch.folder)

    refresh()


def _card(hub: GenerationHub, batch: Batch) -> None:
    with st.container(border=True, key=f"batch-card-{batch.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            label = "Cancelling" if batch.cancelled and batch.is_live else _LABELS[batch.state]
            st.markdown(f"**{label}** · {literal(_how_far(batch))}", width="stretch")
            if batch.is_live:
                _stop_buttons(hub, batch)
        if batch.is_live:
            st.progress(batch.share)
            _forming(batch)
        message = CANCELLING if batch.cancelled and batch.state == "loading" else batch.message
        if message:
            (st.error if batch.state == "failed" else st.caption)(literal(message))


def _how_far(batch: Batch) -> str:
    drawn = f"{len(batch.images)} of {count(batch.total, 'picture')}"
    if not batch.is_live:
        took = f" in {_precise(batch.ended - batch.started)}" if batch.started and batch.ended else ""
        return drawn + took
    step = f", step {batch.step} of {batch.steps}" if batch.steps else ""
    left = f", {duration(batch.seconds_left)} left" if batch.seconds_left is not None else ""
    return drawn + step + left


def _precise(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _stop_buttons(hub: GenerationHub, batch: Batch) -> None:
    st.button(
        "Stop after these",
        key=f"finish-{batch.id}",
        disabled=batch.ending or batch.cancelled or batch.state == "waiting",
        help="Finish the pictures in hand and begin no others.",
        on_click=hub.finish_these,
        args=(batch.id,),
    )
    st.button(
        "Cancel",
        key=f"cancel-{batch.id}",
        icon=":material/close:",
        disabled=batch.cancelled,
        on_click=hub.cancel,
        args=(batch.id,),
    )


def _forming(batch: Batch) -> None:
    """A rough look at each picture in hand."""
    pictures = "".join(
        f'<img alt="A picture that is forming" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        for data in batch.forming
    )
    if pictures:
        st.html(f'<div class="studio-forming">{pictures}</div>')


def show_pictures(workspace: Workspace, folder: Path) -> None:
    """All pictures of a folder side by side, with what was not asked for above them."""
    if OPENED in st.session_state:  # a picture was chosen within a fragment, and its dialog is the page's
        st.rerun(scope="app")
    images = read_images(folder)
    for flag in dict.fromkeys(flag for image in images for flag in image.flags):
        st.markdown(f":orange[⚠] {literal(flag)}")
    if not images:
        return

    def opened(file: str) -> None:
        st.session_state[OPENED] = str((folder / file).relative_to(workspace.root))

    side_by_side(workspace, folder, images, f"batch-{folder.name}", opened)
    with st.expander("Settings of this batch", icon=":material/tune:"):
        st.json(read_json(folder / "config.json"))
