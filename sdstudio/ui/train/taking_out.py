"""What a checkpoint is taken out as: exports with their downloads, and the way to the Hub."""

from html import escape

import streamlit as st

from sdstudio import jobs
from sdstudio.exports import formats, formats_for
from sdstudio.models import resolve_checkpoint
from sdstudio.schema import ExportConfig, Job, PublishConfig, UserError, from_json
from sdstudio.sharing.exporting import REPORT_FILE, exported_file
from sdstudio.ui.files import export_url
from sdstudio.ui.forms import config_form
from sdstudio.ui.hub_token import secrets_of, token_form
from sdstudio.ui.job_card import POLL_SECONDS, is_live
from sdstudio.ui.session import told
from sdstudio.ui.text import literal, size
from sdstudio.workspace import Workspace, read_json

IN_PLACE = ("checkpoint", "format")


@st.dialog("Export", width="medium", icon=":material/ios_share:")
def export_dialog(workspace: Workspace, ref: str) -> None:
    """Choose a form; the export is a job, whose file is then listed under the run's checkpoints."""
    form = _choose_form(workspace, ref, "export")
    values = config_form(ExportConfig, key="export", skip=IN_PLACE)
    if form and st.button("Export", type="primary", icon=":material/ios_share:", key="export-start"):
        with told():
            config = from_json(ExportConfig, {**values, "checkpoint": ref, "format": form})
            jobs.submit(workspace, "export", config, f"{formats()[form].label} of {_step(ref)}")
            st.rerun()


@st.dialog("Send to the Hugging Face Hub", width="medium", icon=":material/cloud_upload:")
def publish_dialog(workspace: Workspace, ref: str) -> None:
    """The same, sent with a card; private unless said otherwise, the token kept nowhere."""
    form = _choose_form(workspace, ref, "publish")
    values = config_form(PublishConfig, key="publish", skip=IN_PLACE)
    st.caption("A card goes with it: trigger, samples, settings, and the figures of the comparisons it was in.")
    if not form:
        return
    help = "The token needs write access; without one here, that of this machine's login is taken."
    token = token_form("Send", help, key="publish-start", icon=":material/cloud_upload:")
    if token is not None:
        with told():
            config = from_json(PublishConfig, {**values, "checkpoint": ref, "format": form})
            jobs.submit(workspace, "publish", config, f"{_step(ref)} to the Hub", secrets_of(token))
            st.rerun()


def _choose_form(workspace: Workspace, ref: str, key: str) -> str:
    forms = {form.name: form for form in formats_for(resolve_checkpoint(workspace, ref))}
    if not forms:
        st.info("This checkpoint can be taken out in no form.")
        return ""
    name = st.radio(
        "As",
        list(forms),
        format_func=lambda name: forms[name].label,
        captions=[literal(form.summary) for form in forms.values()],
        key=f"{key}.form",
    )
    return name or ""


def _step(ref: str) -> str:
    return f"step {int(ref.rpartition('step-')[2])}"


# ---------------------------------------------------------------- what was taken out


def show_taken_out(workspace: Workspace, run: str) -> None:
    """The run's exports and what of it is on the Hub, the newest first; looked at again while one is under way."""
    found = _jobs_of(workspace, run)
    if not found:
        return
    live = any(map(is_live, found))

    @st.fragment(run_every=POLL_SECONDS if live else None)
    def refresh() -> None:
        jobs.tick(workspace)
        now = _jobs_of(workspace, run)
        if live and not any(map(is_live, now)):
            st.rerun(scope="app")
        with st.container(border=True, key="taken-out"):
            for job in now:
                _show(job)

    refresh()


def _jobs_of(workspace: Workspace, run: str) -> list[Job]:
    taken = [*jobs.list_jobs(workspace, "export"), *jobs.list_jobs(workspace, "publish")]
    return [job for job in taken if _is_of(job, run)]


def _is_of(job: Job, run: str) -> bool:
    try:
        return str(read_json(job.folder / "config.json")["checkpoint"]).startswith(f"runs/{run}/")
    except UserError:
        return False


def _show(job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"taken-{job.id}"):
        st.markdown(literal(job.title), width="stretch")
        if job.state != "succeeded":
            st.caption(literal(job.error or job.message or job.state), width="content")
        elif job.kind == "publish":
            report = read_json(job.folder / REPORT_FILE)
            st.link_button(report["repository"], report["url"], icon=":material/open_in_new:")
        else:
            _download(job)


def _download(job: Job) -> None:
    written = exported_file(job.folder)
    if written is None:
        st.caption("Its file is gone.", width="content")
        return
    st.html(
        f'<a href="{escape(export_url(job.id))}" download="{escape(written.name)}">Download '
        f"({size(written.stat().st_size)})</a>",
        width="content",
    )
