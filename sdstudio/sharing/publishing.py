"""Sending what a run learned to the Hugging Face Hub: exported, with a card and the run's last samples."""

import shutil
from dataclasses import replace
from pathlib import Path

from sdstudio import hub
from sdstudio.exports import export_checkpoint, formats
from sdstudio.jobs.context import JobContext
from sdstudio.models import read_checkpoint, resolve_checkpoint
from sdstudio.pictures.image_folder import read_images
from sdstudio.schema import ExportConfig, PublishConfig, UserError
from sdstudio.sharing.exporting import check_export, file_name
from sdstudio.sharing.model_card import write_card
from sdstudio.workspace import Workspace, read_json, write_json

CARD = "README.md"
SETTINGS = "training_config.json"
REPORT_FILE = "report.json"
UPLOAD = "upload"


def check_publish(ws: Workspace, config: PublishConfig) -> PublishConfig:
    """The config with its checkpoint found; a UserError when it cannot be exported so or the name cannot be one."""
    name = config.repository.strip()
    if not hub.is_id(name if "/" in name else f"me/{name}"):
        raise UserError(f"{config.repository!r} is no name of a model on the Hub: give one such as owner/my-style.")
    export = check_export(ws, _export(config))
    return replace(config, checkpoint=export.checkpoint, repository=name)


def run_publish(config: PublishConfig, ctx: JobContext) -> bool:
    """Export into the job's folder, write the card, send it in one commit; `report.json` says where it went.

    Raises UserError in one sentence when there is no token, it may not write, or the Hub is not in reach.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi(library_name="sd-studio")
    repository = hub.with_owner(api, config.repository)
    ctx.progress(0, 3, "parts", "exporting")
    folder = ctx.folder / UPLOAD
    gather(ctx.workspace, config, folder)
    if ctx.should_stop():
        return False
    ctx.progress(1, 3, "parts", f"sending to {repository}")
    with hub.plainly(f"the model {repository}"):
        api.create_repo(repository, repo_type="model", private=config.private, exist_ok=True)
        if bool(api.model_info(repository).private) != config.private:
            seen = "private" if not config.private else "public"
            raise UserError(
                f"{repository} is {seen} on the Hub; publish it so, or change that on its page there first."
            )
        ctx.progress(2, 3, "parts", f"sending to {repository}")
        done = api.upload_folder(
            repo_id=repository, folder_path=folder, repo_type="model", commit_message="From SD Studio"
        )
    report = {"repository": repository, "url": f"{api.endpoint}/{repository}", "commit": done.oid}
    write_json(ctx.folder / REPORT_FILE, report)
    shutil.rmtree(folder, ignore_errors=True)
    ctx.progress(3, 3, "parts")
    return True


def gather(ws: Workspace, config: PublishConfig, folder: Path) -> None:
    """Everything that is sent, in `folder`: the export, the card, the run's config, its last samples."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    written = export_checkpoint(ws, config.checkpoint, config.format, folder / file_name(ws, _export(config)))
    if written.is_dir():  # a folder's files are the repository itself
        for path in written.iterdir():
            path.rename(folder / path.name)
        written.rmdir()
    checkpoint = resolve_checkpoint(ws, config.checkpoint)
    run = ws.runs / read_checkpoint(checkpoint).run
    samples = copy_samples(run, folder / "samples")
    if (run / "config.json").is_file():
        settings = read_json(run / "config.json")
        base = Path(str(settings.get("base_model", "")))  # a path of this machine is nobody else's business
        write_json(folder / SETTINGS, {**settings, "base_model": base.name} if base.is_absolute() else settings)
    weights = written.name if written.is_file() else ""
    card = write_card(ws, checkpoint, config, weights, samples, formats()[config.format].label)
    (folder / CARD).write_text(card, encoding="utf-8")


def copy_samples(run: Path, folder: Path) -> list[tuple[str, str]]:
    """The newest samples of the run, copied; (file name, prompt) each."""
    newest = max(run.glob("samples/step-*"), default=None)
    if newest is None:
        return []
    found = []
    for image in read_images(newest):
        folder.mkdir(exist_ok=True)
        shutil.copyfile(newest / image.file, folder / image.file)
        found.append((image.file, image.prompt))
    return found


def _export(config: PublishConfig) -> ExportConfig:
    return ExportConfig(checkpoint=config.checkpoint, format=config.format)
