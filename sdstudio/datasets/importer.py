"""Bring pictures from anywhere, with the captions that come with them, into a dataset."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from sdstudio import registry
from sdstudio.datasets.adding import NewPicture
from sdstudio.datasets.catalog import create_dataset, dataset_exists, open_dataset
from sdstudio.datasets.intake import RefusedPicture, read_picture
from sdstudio.datasets.saving import Outcome
from sdstudio.datasets.sources.offer import Candidate, Source
from sdstudio.datasets.store import DatasetStore
from sdstudio.datasets.text import printable
from sdstudio.datasets.uploads import discard_upload
from sdstudio.jobs.context import JobContext
from sdstudio.schema import ImportConfig, UserError, to_json
from sdstudio.workspace import Workspace, check_name, typed_path, write_json

REPORT_FILE = "report.json"
_PROGRESS_SECONDS = 0.5
_ASK_SECONDS = 0.05


@dataclass(kw_only=True)
class ImportReport:
    """What an import did: pictures added, pictures that were there already, and (file, reason) of each refused file.

    `notes` are sentences on what was made of the place; `stopped` or `error` say why it did not come to its end.
    """

    added: int = 0
    duplicates: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    stopped: bool = False
    notes: list[str] = field(default_factory=list)
    error: str = ""


def import_folder(
    ws: Workspace,
    dataset: str,
    folder: str | Path,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ImportReport:
    """Add every picture under `folder` to `dataset`; see `import_pictures`."""
    config = ImportConfig(dataset=dataset, folder=str(folder), source="folder")
    return import_pictures(ws, config, progress, should_stop)


def import_pictures(
    ws: Workspace,
    config: ImportConfig,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    report: ImportReport | None = None,
) -> ImportReport:
    """Add the pictures of the place that `config` names to its dataset, which is made with the first usable one.

    Pictures that are there already are counted, not stored twice, so the same import may run again.
    `progress` hears (pictures done, pictures in all or 0). `report` is filled on the way, and returned. A UserError
    when there is nothing to import, and no dataset is made then; when something breaks midway, what is in stays in.
    """
    check_name(config.dataset, "dataset")
    report = report if report is not None else ImportReport()
    with find_source(config).open(config) as offer:
        report.refused, report.notes = offer.refused, offer.notes
        tally = _Tally(report, offer.total, progress)
        names: deque[str] = deque()
        pictures = _read(offer.pictures, names, tally, should_stop)
        if dataset_exists(ws, config.dataset):
            store: DatasetStore | None = open_dataset(ws, config.dataset)
        else:
            store, pictures = _create(ws, config.dataset, pictures, names, tally)
        if store is not None:
            for outcome in store.add_many(pictures):
                tally.note(names.popleft(), outcome)
        report.refused.sort()
        if not (report.added or report.duplicates or report.stopped):
            raise UserError(_nothing_usable(offer.where, report.refused))
    return report


@dataclass
class _Tally:
    """Counts into the report what became of each picture, and tells how far it is."""

    report: ImportReport
    total: int
    progress: Callable[[int, int], None] | None
    done: int = 0

    def note(self, name: str, outcome: Outcome) -> None:
        if isinstance(outcome, RefusedPicture):
            self.report.refused.append((name, str(outcome)))
        elif outcome.deleted:
            self.report.refused.append((name, "It was deleted from this dataset; take that back to have it again."))
        elif outcome.is_new:
            self.report.added += 1
        else:
            self.report.duplicates += 1
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def _read(
    candidates: Iterable[Candidate], names: deque[str], tally: _Tally, should_stop: Callable[[], bool] | None
) -> Iterator[NewPicture]:
    """The pictures that can be read, each with its name appended to `names`; ends early when asked to stop."""
    for candidate in candidates:
        if should_stop is not None and should_stop():
            tally.report.stopped = True
            return
        try:
            data = candidate.read()
        except RefusedPicture as error:
            tally.note(candidate.name, error)
            continue
        names.append(candidate.name)
        yield NewPicture(data=data, file_name=candidate.name, caption=candidate.caption)


def _create(
    ws: Workspace, dataset: str, pictures: Iterator[NewPicture], names: deque[str], tally: _Tally
) -> tuple[DatasetStore | None, Iterator[NewPicture]]:
    """The new dataset and the pictures from the first usable one on; no dataset when none is usable."""
    for picture in pictures:
        try:
            read_picture(picture.data)
        except RefusedPicture as error:
            tally.note(names.popleft(), error)
        else:
            return create_dataset(ws, dataset), chain([picture], pictures)
    return None, pictures


def run_import(config: ImportConfig, ctx: JobContext) -> bool:
    """The import as a job; what it did is in the job's `report.json`, also when it failed."""
    said = asked = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said > _PROGRESS_SECONDS:
            ctx.progress(done, total, "pictures")
            said = time.monotonic()

    def should_stop() -> bool:
        nonlocal asked
        if time.monotonic() - asked < _ASK_SECONDS:
            return False
        asked = time.monotonic()
        return ctx.should_stop()

    report = ImportReport()
    try:
        import_pictures(ctx.workspace, config, progress, should_stop, report)
    except Exception as error:
        report.error = str(error)
        if not (report.added or report.duplicates):
            ctx.progress(0, len(report.refused), "pictures")  # what was only refused is nothing that was kept
        raise
    finally:
        report.refused = [(printable(name), printable(reason)) for name, reason in report.refused]
        write_json(ctx.folder / REPORT_FILE, to_json(report))
        _log(report, ctx)
    if not report.stopped:
        discard_upload(ctx.workspace, config.folder)
        done = report.added + report.duplicates + len(report.refused)
        ctx.progress(done, done, "pictures")
    return not report.stopped


def check_import(config: ImportConfig) -> ImportConfig:
    """The config with its kind of source found and its path absolute; a UserError when there is no such place."""
    check_name(config.dataset, "dataset")
    source = find_source(config)
    place = config.folder if source.name == "hub" else str(typed_path(config.folder))
    return replace(config, source=source.name, folder=place)


def find_source(config: ImportConfig) -> Source:
    """The kind of place that `config.folder` is, unless `config.source` says it."""
    sources: dict[str, Source] = dict(registry.load("sdstudio.datasets.sources"))
    if config.source in sources:
        return sources[config.source]
    found = next((source for source in sources.values() if config.folder and source.detect(config.folder)), None)
    if found is None:
        raise UserError(
            f"There is no folder, zip file, table or config {config.folder!r}, and it is no Hub dataset's name; "
            "give one that holds pictures (PNG, JPEG or WebP)."
        )
    return found


def _log(report: ImportReport, ctx: JobContext) -> None:
    ctx.log(f"{report.added} added, {report.duplicates} there already, {len(report.refused)} refused")
    for note in report.notes:
        ctx.log(note)
    for name, reason in report.refused:
        ctx.log(f"refused {name}: {reason}")


def _nothing_usable(where: str, refused: list[tuple[str, str]]) -> str:
    if not refused:
        return f"{where} holds no files; give one that holds PNG, JPEG or WebP pictures."
    name, reason = refused[0]
    return (
        f"{where} holds no usable picture ({len(refused)} files refused, such as {name}: {reason[:-1]}); "
        "give one that holds PNG, JPEG or WebP pictures."
    )
