"""Draft captions for a dataset's pictures, as a job."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

from sdstudio import registry
from sdstudio.datasets.catalog import open_dataset
from sdstudio.datasets.importer import REPORT_FILE
from sdstudio.datasets.store import DatasetStore
from sdstudio.jobs.context import JobContext
from sdstudio.schema import CaptionConfig, CaptionedImage, Captioner, UserError, from_json
from sdstudio.workspace import write_json

Caption = Callable[[list[Image.Image]], list[str]]
"""What a captioner's `load` returns: one caption per picture."""


@dataclass
class CaptionReport:
    """`report.json`: drafts that became captions, drafts kept beside a person's caption, and broken pictures.

    `stopped` or `error` say why it did not come to its end; what was drafted until then is kept.
    """

    dataset: str
    captioner: str
    total: int
    drafted: int = 0
    kept_beside: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    stopped: bool = False
    error: str = ""


def run_caption(config: CaptionConfig, ctx: JobContext) -> bool:
    """Draft a caption for every picture (with `only_empty`, for those that have none), batch by batch.

    Each draft is stored as soon as it is there, so a stopped or failed job loses nothing and a second one goes on. A
    picture that cannot be read is a line of the report. Where memory is short the batches become smaller. A UserError
    when there is no such dataset, captioner or model, when the dataset has no pictures, or when none can be read.
    """
    store = open_dataset(ctx.workspace, config.dataset)
    captioner = find_captioner(config.captioner)
    options: Any = from_json(captioner.Options, config.options)
    images = store.images()
    if not images:
        raise UserError(f"The dataset {store.name!r} has no pictures to caption; import some first.")
    todo = [image for image in images if not (config.only_empty and image.caption)]
    report = CaptionReport(dataset=store.name, captioner=captioner.name, total=len(todo))
    try:
        if todo:
            ctx.progress(0, len(todo), "pictures", f"loading {captioner.label}")
            caption = captioner.load(options, options.model, compute_device())
            _draft(store, todo, caption, options.batch_size, report, ctx)
    except Exception as error:
        report.error = str(error)
        raise
    finally:
        write_json(ctx.folder / REPORT_FILE, asdict(report))
        ctx.log(
            f"{report.drafted} drafted, {report.kept_beside} kept beside a person's, {len(report.failed)} unreadable"
        )
    if todo and len(report.failed) == len(todo):
        ctx.progress(0, len(todo), "pictures")
        raise UserError(f"None of the {len(todo)} pictures of {store.name!r} can be read; import them again.")
    return not report.stopped


def find_captioner(name: str) -> Captioner:
    """The plug-in of that name; a UserError that lists them otherwise."""
    captioner: Captioner = registry.find("sdstudio.captioners", "captioner", name)
    return captioner


def compute_device() -> str:
    """'cuda' where this process sees a GPU, else 'cpu'."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def open_picture(store: DatasetStore, image: CaptionedImage) -> Image.Image:
    """The stored picture, RGB; an OSError, SyntaxError or ValueError when its file is broken."""
    with Image.open(store.image_path(image.id)) as picture:
        return picture.convert("RGB")


def draft_within_memory(caption: Caption, pictures: list[Image.Image]) -> Iterator[list[str]]:
    """The drafts of `pictures` in order, in as few parts as memory allows.

    A part that does not fit is halved; an error when a single picture does not fit, or for another reason.
    """
    drafts = _try(caption, pictures)
    if drafts is not None:
        yield drafts
        return
    half = (len(pictures) + 1) // 2
    yield from draft_within_memory(caption, pictures[:half])
    yield from draft_within_memory(caption, pictures[half:])


def _try(caption: Caption, pictures: list[Image.Image]) -> list[str] | None:
    """The drafts, or None when memory ran out and there is something to halve."""
    try:
        return caption(pictures)
    except Exception as error:
        if len(pictures) == 1 or not is_out_of_memory(error):
            raise
    import torch

    torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: Exception) -> bool:
    """Whether a GPU or this machine had no memory left; torch says the latter with a plain RuntimeError."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def _draft(
    store: DatasetStore,
    todo: list[CaptionedImage],
    caption: Caption,
    batch_size: int,
    report: CaptionReport,
    ctx: JobContext,
) -> None:
    done = 0
    while done < len(todo):
        report.stopped = ctx.should_stop()
        if report.stopped:
            return
        batch = todo[done : done + batch_size]
        waiting = _open(store, batch, report)
        parts = draft_within_memory(caption, [picture for _, picture in waiting]) if waiting else iter(())
        for drafts in parts:
            for (image, _), draft in zip(waiting[: len(drafts)], drafts, strict=True):
                after = store.set_machine_caption(image.id, draft, f"captioner:{report.captioner}")
                report.drafted += after.state == "not modified"
                report.kept_beside += after.state != "not modified"
            waiting = waiting[len(drafts) :]
            if waiting and len(drafts) < batch_size:
                batch_size = len(drafts)
                ctx.log(f"memory is short: {batch_size} pictures at once from here on")
        done += len(batch)
        ctx.progress(done, len(todo), "pictures")


def _open(
    store: DatasetStore, images: list[CaptionedImage], report: CaptionReport
) -> list[tuple[CaptionedImage, Image.Image]]:
    readable = []
    for image in images:
        try:
            readable.append((image, open_picture(store, image)))
        except (OSError, SyntaxError, ValueError) as error:
            report.failed.append({"id": image.id, "file_name": image.file_name, "error": str(error)})
    return readable
