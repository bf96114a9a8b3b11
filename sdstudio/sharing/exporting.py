"""Taking out what a run learned, as a job: a file or folder in a form that other programs read."""

import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from sdstudio.exports import export_checkpoint, form_for
from sdstudio.jobs.context import JobContext
from sdstudio.models import read_checkpoint, resolve_checkpoint
from sdstudio.schema import ExportConfig
from sdstudio.workspace import Workspace, read_json, write_json

REPORT_FILE = "report.json"


def check_export(ws: Workspace, config: ExportConfig) -> ExportConfig:
    """The config with its checkpoint found; a UserError when it is missing, damaged or does not fit the form."""
    folder = resolve_checkpoint(ws, config.checkpoint)
    form_for(folder, config.format)
    return replace(config, checkpoint=ws.within(folder))


def run_export(config: ExportConfig, ctx: JobContext) -> bool:
    """Write one file into the job's own folder, a folder packed as zip; `report.json` says its name and its bytes."""
    ctx.progress(0, 1, "export", "writing")
    target = ctx.folder / file_name(ctx.workspace, config)
    for left in ctx.folder.glob(f"{target.name}*"):  # of a job that goes on
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    written = export_checkpoint(ctx.workspace, config.checkpoint, config.format, target, metadata=config.metadata)
    if written.is_dir():
        written = _packed(written)
    write_json(ctx.folder / REPORT_FILE, {"file": written.name, "size": written.stat().st_size})
    ctx.progress(1, 1, "export")
    return True


def _packed(folder: Path) -> Path:
    """The folder as a zip beside it, not compressed, for weights do not shrink; the folder itself goes."""
    archive = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder.parent))
    shutil.rmtree(folder)
    return archive


def file_name(ws: Workspace, config: ExportConfig) -> str:
    """'first-try-step-200' for the checkpoint of step 200 of the run 'first try'; its id where it has no name."""
    checkpoint = read_checkpoint(resolve_checkpoint(ws, config.checkpoint))
    state = ws.runs / checkpoint.run / "state.json"
    title = str(read_json(state).get("title", "")) if state.is_file() else ""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower() or checkpoint.run
    return f"{slug}-step-{checkpoint.step}"


def exported_file(folder: Path) -> Path | None:
    """What an export's job left in its folder; None while there is nothing whole."""
    report = folder / REPORT_FILE
    found = folder / str(read_json(report)["file"]) if report.is_file() else None
    return found if found and found.is_file() else None
