"""Draft captions for a dataset's pictures, as a job."""

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


@dataclass
class CaptionReport:
    """`report.json`: drafts that became captions, drafts kept beside a person's caption, and broken pictures."""

    dataset: str
    captioner: str
    total: int
    drafted: int = 0
    kept_beside: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    stopped: bool = False


def run_caption(config: CaptionConfig, ctx: JobContext) -> None:
    """Draft a caption for every picture (with `only_empty`, for those that have none), batch by batch.

    Each draft is stored as soon as it is there, so a stopped job loses nothing and a second one goes on. A picture
    that cannot be read is a line of the report. A UserError when there is no such dataset, captioner or model, when
    the dataset has no pictures, or when none of them can be read.
    """
    store = open_dataset(ctx.workspace, config.dataset)
    captioner = find_captioner(config.captioner)
    options: Any = from_json(captioner.Options, config.options)
    images = store.images()
    if not images:
        raise UserError(f"The dataset {store.name!r} has no pictures to caption; import some first.")
    todo = [image for image in images if not (config.only_empty and image.caption)]
    report = CaptionReport(dataset=store.name, captioner=captioner.name, total=len(todo))
    if todo:
        ctx.progress(0, len(todo), "pictures", f"loading {captioner.label}")
        caption = captioner.load(options, options.model, compute_device())
        for start in range(0, len(todo), options.batch_size):
            report.stopped = ctx.should_stop()
            if report.stopped:
                break
            readable = _open(store, todo[start : start + options.batch_size], report)
            drafts = caption([picture for _, picture in readable]) if readable else []
            for (image, _), draft in zip(readable, drafts, strict=True):
                after = store.set_machine_caption(image.id, draft, f"captioner:{captioner.name}")
                report.drafted += after.state == "not modified"
                report.kept_beside += after.state != "not modified"
            ctx.progress(min(start + options.batch_size, len(todo)), len(todo), "pictures")
    write_json(ctx.folder / REPORT_FILE, asdict(report))
    ctx.log(f"{report.drafted} drafted, {report.kept_beside} kept beside a person's, {len(report.failed)} unreadable")
    if todo and len(report.failed) == len(todo):
        raise UserError(f"None of the {len(todo)} pictures of {store.name!r} can be read; import them again.")


def find_captioner(name: str) -> Captioner:
    """The plug-in of that name; a UserError that lists them otherwise."""
    captioners = registry.load("sdstudio.captioners")
    if name not in captioners:
        raise UserError(f"There is no captioner {name!r}; choose one of {', '.join(captioners)}.")
    captioner: Captioner = captioners[name]
    return captioner


def compute_device() -> str:
    """'cuda' where this process sees a GPU, else 'cpu'."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _open(
    store: DatasetStore, images: list[CaptionedImage], report: CaptionReport
) -> list[tuple[CaptionedImage, Image.Image]]:
    readable = []
    for image in images:
        try:
            with Image.open(store.image_path(image.id)) as picture:
                readable.append((image, picture.convert("RGB")))
        except (OSError, SyntaxError, ValueError) as error:
            report.failed.append({"id": image.id, "file_name": image.file_name, "error": str(error)})
    return readable
