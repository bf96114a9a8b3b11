"""Jobs that a person wants gone: first into the trash, from which they come back, then off the disk."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sdstudio.jobs.database import delist, enlist, job_folders, transaction, unended
from sdstudio.jobs.folder import CONFIG_FILE, STATE_FILE, read_state
from sdstudio.jobs.queue import find_folder, get_job
from sdstudio.jobs.reading import present_state, read_job
from sdstudio.schema import Job, UserError
from sdstudio.workspace import Workspace, check_name

HALF_MADE = 3600.0
"""Seconds after which a job folder that has not got its final name never will."""


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What was taken off the disk: folders, and pictures that were deleted one by one."""

    folders: int
    pictures: int
    size: int


def delete_job(ws: Workspace, job_id: str) -> Job:
    """Put an ended or queued job with all its files into the trash; the job as it lies there.

    Raises UserError for one that runs, and for one whose files a job that has not ended asks for.
    """
    folder = find_folder(ws, job_id)
    with transaction(ws) as database:
        state = present_state(folder)
        if not state.has_ended and state.state != "queued":
            raise UserError(f"The job {job_id} is {state.state}: stop it first, then delete it.")
        for other in _users(ws, folder):
            raise UserError(f"The job {other} still needs the files of {job_id}: stop it first, or wait for its end.")
        target = ws.trash / folder.parent.name / folder.name
        _move(folder, target)
        os.utime(target)  # when it was deleted; a full disk takes this too
        delist(database, folder)
    return _deleted(target)


def restore_job(ws: Workspace, job_id: str) -> Job:
    """Bring a deleted job back with its files; one that was queued goes to the end of the queue."""
    source = next((folder for folder in _deleted_folders(ws) if folder.name == check_name(job_id, "job")), None)
    if source is None:
        raise UserError(f"There is no job {job_id} in the trash; it may have been emptied.")
    folder = ws.root / source.parent.name / source.name
    with transaction(ws) as database:
        _move(source, folder)
        state = read_state(folder)
        if not state.has_ended:
            enlist(database, [(folder, state)])
    return get_job(ws, job_id)


def trash(ws: Workspace) -> list[Job]:
    """The deleted jobs that can still be restored, the one deleted last first."""
    jobs = (_deleted(folder) for folder in _deleted_folders(ws))
    return sorted(jobs, key=lambda job: job.deleted or 0.0, reverse=True)


def deleted_pictures(ws: Workspace) -> int:
    """How many pictures lie in the trash that were deleted one by one."""
    return sum(1 for _ in ws.deleted_pictures.rglob("*.png"))


def empty_trash(ws: Workspace) -> Cleaned:
    """Take the deleted jobs and pictures off the disk for good."""
    jobs, pictures = _remove(_deleted_folders(ws)), deleted_pictures(ws)
    size = _remove([ws.deleted_pictures]).size if pictures else 0
    return Cleaned(folders=jobs.folders, pictures=pictures, size=jobs.size + size)


def clean(ws: Workspace) -> Cleaned:
    """Empty the trash, and remove what killed processes left half made: job folders and checkpoints."""
    emptied = empty_trash(ws)
    with transaction(ws):  # no job is made, resumed or ended meanwhile
        removed = _remove([*_half_made_jobs(ws), *_half_made_checkpoints(ws)])
    return replace(emptied, folders=emptied.folders + removed.folders, size=emptied.size + removed.size)


def _deleted_folders(ws: Workspace) -> Iterator[Path]:
    yield from sorted(path.parent for path in ws.trash.glob(f"*/*/{STATE_FILE}"))


def _deleted(folder: Path) -> Job:
    return replace(read_job(folder), deleted=folder.stat().st_mtime)


def _users(ws: Workspace, folder: Path) -> Iterator[str]:
    """The jobs that have not ended and whose settings name something in this folder."""
    wanted = f"{folder.parent.name}/{folder.name}"
    for other, _ in unended(ws):
        with suppress(OSError):
            if other != folder and wanted in (other / CONFIG_FILE).read_text(encoding="utf-8"):
                yield other.name


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except OSError as error:
        raise UserError(f"{source} cannot be moved to {target}: {error.strerror}. It stays where it is.") from error


def _half_made_jobs(ws: Workspace) -> Iterator[Path]:
    parents = {folder.parent for folder in job_folders(ws)}
    for parent in sorted(parents):
        yield from (path for path in parent.glob(".*") if path.stat().st_mtime < time.time() - HALF_MADE)


def _half_made_checkpoints(ws: Workspace) -> Iterator[Path]:
    busy = {folder for folder, _ in unended(ws)}
    for folder in job_folders(ws):
        if folder not in busy:
            yield from folder.glob("checkpoints/.*.writing")


def _remove(folders: Iterable[Path]) -> Cleaned:
    removed = Cleaned(folders=0, pictures=0, size=0)
    for folder in folders:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder)
        removed = replace(removed, folders=removed.folders + 1, size=removed.size + size)
    return removed
