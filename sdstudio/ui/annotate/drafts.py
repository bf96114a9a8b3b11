"""Drafts from a captioner: try settings side by side on a few pictures, then draft the whole set."""

from dataclasses import asdict
from typing import Any

import streamlit as st

from sdstudio import jobs, registry
from sdstudio.datasets import DatasetStore
from sdstudio.datasets.query import Query
from sdstudio.datasets.trying import TriedCaption, read_tries
from sdstudio.schema import CaptionConfig, Captioner, CaptionSetting, Job, TryCaptionsConfig, UserError, from_json
from sdstudio.ui.annotate.jobs_view import start
from sdstudio.ui.annotate.selection import selection
from sdstudio.ui.files import thumb_url
from sdstudio.ui.forms import config_form
from sdstudio.ui.gallery import Item, gallery
from sdstudio.ui.job_card import POLL_SECONDS, is_live
from sdstudio.ui.session import in_address, put_in_address, told
from sdstudio.ui.text import literal
from sdstudio.workspace import Workspace, read_json

VIEW = "drafts"
PICTURES = 5
COLUMNS = 4


def show_drafts(workspace: Workspace, store: DatasetStore) -> None:
    """The page while the address says `view=drafts`."""
    if st.button("All pictures", key="back", icon=":material/grid_view:"):
        put_in_address("view", "")
        st.rerun()
    captioners: dict[str, Captioner] = dict(registry.load("sdstudio.captioners"))
    if not captioners:
        st.info("No captioner is installed.")
        return
    with st.container(border=True):
        st.subheader("Draft captions")
        name = st.selectbox(
            "Captioner",
            list(captioners),
            format_func=lambda key: captioners[key].label,
            key="captioner",
            persist_state="session",
        )
        st.caption(literal(captioners[name].summary))
        options = config_form(captioners[name].Options, key=f"captioner.{name}")
        only_empty = st.toggle(
            "Only pictures without a caption",
            value=True,
            key="only-empty",
            help="A caption that a person wrote is never overwritten either way.",
        )
        with st.container(horizontal=True):
            if st.button("Start drafting", type="primary", key="draft", icon=":material/play_arrow:"):
                with told():
                    config = CaptionConfig(dataset=store.name, captioner=name, options=options, only_empty=only_empty)
                    start(workspace, "caption", config, f"Draft captions for {store.name}")
            if st.button(f"Try on {PICTURES} pictures", key="try", icon=":material/compare:"):
                with told():
                    try_settings(workspace, store, name, options)
    show_tries(workspace, store, captioners)


def try_settings(workspace: Workspace, store: DatasetStore, captioner: str, options: dict[str, Any]) -> None:
    """Start a job with these settings on the pictures of the comparison; it becomes one more column."""
    setting = CaptionSetting(captioner=captioner, options=options)
    config = TryCaptionsConfig(dataset=store.name, ids=pictures_to_try(store), settings=[setting])
    job = jobs.submit(workspace, "try", config, f"Try {captioner}")
    put_in_address("tries", ",".join([*tries(), job.id][-COLUMNS:]))


def pictures_to_try(store: DatasetStore) -> list[str]:
    """The first chosen ones, else some spread over the whole set."""
    chosen = selection(store.name)[:PICTURES]
    if chosen:
        return chosen
    ids = store.ids(Query())
    return ids[:: max(1, len(ids) // PICTURES)][:PICTURES]


def tries() -> list[str]:
    return [job for job in in_address("tries").split(",") if job]


def show_tries(workspace: Workspace, store: DatasetStore, captioners: dict[str, Captioner]) -> None:
    """The tries in the address, one column each; drawn again and again while one of them runs."""
    found = []
    for job_id in tries():
        try:
            found.append(jobs.get_job(workspace, job_id))
        except UserError:
            continue
    if not found:
        return
    live = any(is_live(job) for job in found)

    @st.fragment(run_every=POLL_SECONDS if live else None)
    def refresh() -> None:
        jobs.tick(workspace)
        now = [jobs.get_job(workspace, job.id) for job in found]
        if live and not any(is_live(job) for job in now):
            st.rerun(scope="app")
        show_table(store, captioners, now)

    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Side by side")
        if st.button("Clear", key="clear-tries", type="tertiary"):
            put_in_address("tries", "")
            st.rerun()
    refresh()


def show_table(store: DatasetStore, captioners: dict[str, Captioner], found: list[Job]) -> None:
    configs = [from_json(TryCaptionsConfig, read_json(job.folder / "config.json")) for job in found]
    rows = [{row.id: row for row in read_tries(job.folder)} for job in found]
    ids = list(dict.fromkeys(id for config in configs if config.dataset == store.name for id in config.ids))
    widths = [1, *[3] * len(found)]
    _, *heads = st.columns(widths)
    for head, job, config in zip(heads, found, configs, strict=True):
        with head:
            setting = config.settings[0]
            st.markdown(f"**{literal(captioners[setting.captioner].label)}**")
            st.caption(literal(differences(captioners[setting.captioner], setting.options)))
            if job.error:
                st.error(literal(job.error))
            elif is_live(job):
                st.caption(f":material/hourglass_top: {literal(job.message or job.state)}")
    for id in ids:
        picture, *cells = st.columns(widths, vertical_alignment="center")
        with picture:
            gallery([Item(id=id, src=thumb_url(store.name, id))], key=f"tried-{id}", cell=4)
        for cell, made in zip(cells, rows, strict=True):
            with cell:
                show_cell(made.get(id))


def show_cell(row: TriedCaption | None) -> None:
    if row is None:
        st.caption("…")
    elif row.error:
        st.caption(f":red[{literal(row.error)}]")
    else:
        st.markdown(literal(row.caption) or "*(nothing)*")
        st.caption(f"{len(row.caption.split())} words · {row.seconds:.1f} s")


def differences(captioner: Captioner, options: dict[str, Any]) -> str:
    """What these options have that the captioner's own do not."""
    own = asdict(captioner.Options())
    changed = [f"{name.replace('_', ' ')} {value}" for name, value in options.items() if own.get(name) != value]
    return ", ".join(changed) or "as it comes"
