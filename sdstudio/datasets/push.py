"""Send a dataset to the Hugging Face Hub: private unless said otherwise, and able to go on where it broke off."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sdstudio import hub
from sdstudio.datasets.card import marker, write_card
from sdstudio.datasets.catalog import open_dataset
from sdstudio.datasets.export import exported, jsonl_text
from sdstudio.datasets.importer import REPORT_FILE
from sdstudio.datasets.parquet import Exported, plan_shards, write_shard
from sdstudio.datasets.snapshots import content_hash
from sdstudio.jobs.context import JobContext
from sdstudio.schema import PushConfig, UserError
from sdstudio.words import size
from sdstudio.workspace import Workspace, write_json

CARD = "README.md"
DATA = "data"
METADATA = f"{DATA}/metadata.jsonl"
ATTRIBUTES = ".gitattributes"
FILES_AT_ONCE = 256
BYTES_AT_ONCE = 64_000_000
FILES_A_COMMIT = 1000
FILES_A_FOLDER = 10_000
"""The Hub's own limit."""
SHARDS = 5_000
"""The most Parquet files of a push. Each holds `BYTES_AT_ONCE` if that is enough, since how much has gone out is known
after each: the Hub's client tells nobody how far it is within a file."""


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """A file that a push sends; `size` in bytes, of a Parquet file about. `rows` are the pictures in it."""

    path: str
    size: int
    rows: Sequence[Exported] = field(default=(), repr=False)
    text: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class PushPlan:
    """Everything that a push sends, and nothing else goes: the pictures, their captions and the card."""

    repository: str
    private: bool
    pictures: int
    size: int
    card: str
    files: list[PlannedFile]


@dataclass
class PushReport:
    """`report.json`. `sent` and `already_there` count files that hold pictures; `deleted` the dataset no longer has."""

    repository: str = ""
    url: str = ""
    commit: str = ""
    pictures: int = 0
    sent: int = 0
    already_there: int = 0
    deleted: list[str] = field(default_factory=list)
    stopped: bool = False
    error: str = ""


def plan_push(ws: Workspace, config: PushConfig) -> PushPlan:
    """What `run_push` would send, file by file; nothing is sent, and the Hub is not asked."""
    _check_repository(config.repository)
    store = open_dataset(ws, config.dataset)
    images = store.trained_images()
    rows = exported(store, images)
    card = write_card(store.name, store.description, config.license, images, rows, content_hash(images))
    data = _parquet_files(rows) if config.format == "parquet" else _picture_files(rows)
    files = [*data, PlannedFile(path=CARD, size=len(card.encode()), text=card)]
    return PushPlan(
        repository=config.repository,
        private=config.private,
        pictures=len(rows),
        size=sum(file.size for file in files),
        card=card,
        files=files,
    )


def run_push(config: PushConfig, ctx: JobContext) -> bool:
    """The push as a job; what it did is in the job's `report.json`, also when it failed.

    What was sent stays on the Hub, so a second push sends only the rest. A UserError says in one sentence when there
    is no token, the token is wrong, the name is taken or not allowed, or the Hub is not in reach.
    """
    report = PushReport(repository=config.repository)
    try:
        _push(config, ctx, report)
    except Exception as error:
        report.error = str(error)
        raise
    finally:
        shutil.rmtree(ctx.folder / "upload", ignore_errors=True)
        write_json(ctx.folder / REPORT_FILE, asdict(report))
    ctx.log(f"{report.sent} files sent, {report.already_there} there already, {len(report.deleted)} taken away")
    return not report.stopped


def _push(config: PushConfig, ctx: JobContext, report: PushReport) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    plan = plan_push(ctx.workspace, config)
    report.pictures = plan.pictures
    ctx.progress(0, plan.pictures, "pictures", "asking the Hub")
    disable_progress_bars()
    api = HfApi(library_name="sd-studio")
    report.repository = hub.with_owner(api, config.repository)
    report.url = f"{api.endpoint}/datasets/{report.repository}"
    present = _prepare_repository(api, report.repository, config)
    try:
        with hub.plainly(f"the dataset {report.repository}"):
            _send(api, plan, present, config.replace, ctx, report)
    except UserError as error:
        raise UserError(f"{error} What was sent stays there; push again, and it goes on from there.") from error


def _prepare_repository(api: Any, repository: str, config: PushConfig) -> dict[str, Any]:
    """Make the repository, or look whether the one that is there may be written to; returns its files by path."""
    from huggingface_hub import RepoFile
    from huggingface_hub.errors import HfHubHTTPError

    with hub.plainly(f"the dataset {repository}"):
        try:
            api.create_repo(repository, repo_type="dataset", private=config.private)
            return {}
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
        is_private = api.dataset_info(repository).private
        tree = api.list_repo_tree(repository, repo_type="dataset", recursive=True)
        present = {file.path: file for file in tree if isinstance(file, RepoFile) and file.path != ATTRIBUTES}
        ours = not present or (CARD in present and marker(config.dataset) in _read_card(api, repository))
    if not (ours or config.replace):
        raise UserError(
            f"There already is a dataset {repository} on the Hub that did not come from {config.dataset!r}; choose "
            "another name, or allow that it is replaced."
        )
    if is_private != config.private:
        raise UserError(
            f"{repository} is {'private' if is_private else 'public'} on the Hub; push it so, or change that on its "
            "settings page there first."
        )
    return present


def _read_card(api: Any, repository: str) -> str:
    return Path(api.hf_hub_download(repository, CARD, repo_type="dataset")).read_text(encoding="utf-8")


def _send(
    api: Any, plan: PushPlan, present: dict[str, Any], replace: bool, ctx: JobContext, report: PushReport
) -> None:
    """Upload in batches, then commit: with few files there is one commit, so that the set changes in one step.

    The card goes first, for a later push knows the repository by it; what the dataset no longer has goes last.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    def commit(operations: list[Any], message: str) -> None:
        done = api.create_commit(report.repository, operations, commit_message=message, repo_type="dataset")
        report.commit = done.oid

    pending: list[Any] = [CommitOperationAdd(CARD, plan.card.encode())]
    pictures = through = 0
    for batch in _batches([file for file in plan.files if file.rows]):
        report.stopped = ctx.should_stop()
        if report.stopped:
            return
        going = sum(file.size for file in batch)
        ctx.progress(
            pictures, plan.pictures, "pictures", f"{size(through)} of {size(plan.size)} sent, {size(going)} on the way"
        )
        additions = list(_additions(batch, present, ctx.folder / "upload"))
        if additions:
            api.preupload_lfs_files(report.repository, additions, repo_type="dataset")
        pending += additions
        _discard(ctx.folder / "upload", keep=pending)
        report.sent += len(additions)
        report.already_there += len(batch) - len(additions)
        pictures += sum(len(file.rows) for file in batch)
        through += going
        ctx.progress(pictures, plan.pictures, "pictures", f"{size(through)} of {size(plan.size)} sent")
        if len(pending) >= FILES_A_COMMIT:
            commit(pending, f"{pictures} of {plan.pictures} pictures")
            pending = []
    planned = {file.path for file in plan.files}
    old = sorted(path for path in present if path not in planned and (replace or path.startswith(f"{DATA}/")))
    pending += [CommitOperationAdd(file.path, file.text.encode()) for file in plan.files if file.path == METADATA]
    pending += [CommitOperationDelete(path) for path in old]
    commit(pending, f"{plan.pictures} pictures with captions, from SD Studio")
    report.deleted = old


def _batches(files: Sequence[PlannedFile]) -> Iterator[list[PlannedFile]]:
    """Parquet files one by one, picture files many at once."""
    batch: list[PlannedFile] = []
    for file in files:
        batch.append(file)
        if len(batch) >= FILES_AT_ONCE or sum(item.size for item in batch) >= BYTES_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _additions(files: Sequence[PlannedFile], present: dict[str, Any], folder: Path) -> Iterator[Any]:
    """The commit operations of those `files` that the Hub does not have yet; a Parquet file is written for it."""
    from huggingface_hub import CommitOperationAdd

    for file in files:
        addition = CommitOperationAdd(file.path, str(_local(file, folder)))
        there = present.get(file.path)
        if there is None or there.lfs is None or there.lfs.sha256 != addition.upload_info.sha256.hex():
            yield addition


def _local(file: PlannedFile, folder: Path) -> Path:
    if PurePosixPath(file.path).suffix != ".parquet":
        return file.rows[0].path
    folder.mkdir(exist_ok=True)
    path = folder / PurePosixPath(file.path).name
    write_shard(path, file.rows)
    return path


def _discard(folder: Path, keep: Sequence[Any]) -> None:
    """Take the written Parquet files away but those whose bytes the commit itself still has to carry."""
    needed = {Path(addition.path_or_fileobj) for addition in keep if isinstance(addition.path_or_fileobj, str)}
    for path in folder.glob("*"):
        if path not in needed:
            path.unlink()


def _parquet_files(rows: Sequence[Exported]) -> list[PlannedFile]:
    most = max(BYTES_AT_ONCE, sum(row.size for row in rows) // SHARDS)
    return [
        PlannedFile(path=f"{DATA}/{name}", size=sum(row.size for row in shard), rows=shard)
        for name, shard in plan_shards(rows, most).items()
    ]


def _picture_files(rows: Sequence[Exported]) -> list[PlannedFile]:
    fullest, count = Counter(PurePosixPath(row.name).parent for row in rows).most_common(1)[0]
    if count >= FILES_A_FOLDER:
        raise UserError(
            f"The folder {fullest} would hold {count:,} pictures, and the Hub takes {FILES_A_FOLDER:,} files a folder; "
            "push in the format 'parquet'."
        )
    metadata = jsonl_text(rows)
    return [
        *(PlannedFile(path=f"{DATA}/{row.name}", size=row.size, rows=[row]) for row in rows),
        PlannedFile(path=METADATA, size=len(metadata.encode()), text=metadata),
    ]


def _check_repository(repository: str) -> None:
    if not hub.is_id(repository if "/" in repository else f"owner/{repository}"):
        raise UserError(
            f"{repository!r} cannot name a repository of the Hub: give 'owner/name' of letters, digits, '-', '_', '.'."
        )
