"""The queue: which job runs next, where, and whether those said to run still do.

`studio.db` holds the order of the jobs that have not ended, and its write lock is the one under which any state
changes; everything else is in the jobs' folders, from which the rows come back when the database is lost.
"""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdstudio.jobs.context import PROGRESS_FILE, STOP_FILE
from sdstudio.jobs.devices import devices_for
from sdstudio.jobs.folder import (
    CONFIG_FILE,
    GONE,
    LOG_FILE,
    STATE_FILE,
    TRACEBACK_FILE,
    Identity,
    State,
    kept,
    last_sign,
    present_state,
    read_job,
    read_state,
    workspace_of,
    write_state,
)
from sdstudio.jobs.kinds import KINDS, get_kind
from sdstudio.jobs.processes import launch, module_command
from sdstudio.schema import ENDED, Job, UserError, from_json, to_json
from sdstudio.workspace import OWN_FOLDER, Workspace, check_name, new_id, write_json

SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    folder TEXT NOT NULL UNIQUE
)
"""


# ---------------------------------------------------------------- what pages and commands call


def submit(ws: Workspace, kind: str, config: Any, title: str = "", secrets: Mapping[str, str] | None = None) -> Job:
    """Check the config, make the job's folder, queue it and start it if its device is free.

    `secrets` are environment variables, such as HF_TOKEN, for the job's process alone. They reach it through pipes, so
    no file, database, log or command line holds them; as nothing could hand them over later, such a job's process
    starts at once, and waits for its device by itself.
    Raises UserError, with nothing written, when the job could not succeed.
    """
    folder = _make_folder(ws, kind, config, title)
    with transaction(ws) as database:
        _enlist(database, [folder])
        if secrets:
            _start_now(folder, secrets)
    tick(ws)
    return get_job(ws, folder.name)


def claim_inline(ws: Workspace, kind: str, config: Any, title: str = "") -> Path:
    """Make a job that this process itself will do, and return its folder. It takes the first device, as torch does."""
    device = devices_for(get_kind(kind).place)[0]
    worker = Identity.of(os.getpid())
    folder = _make_folder(ws, kind, config, title, state="starting", device=device, worker=worker)
    with transaction(ws) as database:
        _enlist(database, [folder])
    return folder


def resume_job(ws: Workspace, job_id: str, secrets: Mapping[str, str] | None = None) -> Job:
    """Queue an ended job that did not succeed once more; it goes on from what it kept. `secrets` as in `submit`.

    Raises UserError for one that succeeded or has not ended.
    """
    _reopen(ws, job_id, secrets)
    tick(ws)
    return get_job(ws, job_id)


def reclaim_inline(ws: Workspace, job_id: str) -> Path:
    """Make an ended job one that this process itself goes on with, and return its folder."""
    device = devices_for(get_kind(get_job(ws, job_id).kind).place)[0]
    return _reopen(ws, job_id, state="starting", device=device, worker=Identity.of(os.getpid()))


def get_job(ws: Workspace, job_id: str) -> Job:
    """The job of that id; a UserError when there is none."""
    return read_job(_find(ws, job_id))


def list_jobs(ws: Workspace, kind: str | None = None) -> list[Job]:
    """Every job of the workspace, or of one kind, newest first, each in the state it is truly in."""
    if kind is not None:
        get_kind(kind)
    states = {folder: state for folder in _folders(ws) if (state := _readable_state(folder))}
    with transaction(ws) as database:
        _enlist(database, (folder for folder, state in states.items() if not state.has_ended))
    tick(ws)
    jobs = [read_job(folder) for folder in states]
    return sorted(
        (job for job in jobs if kind in (None, job.kind)), key=lambda job: (job.created, job.id), reverse=True
    )


def stop_job(ws: Workspace, job_id: str, now: bool = False) -> Job:
    """Ask the job to keep what it has and end; with `now`, end its processes at once. A queued one is taken out."""
    folder = _find(ws, job_id)
    with transaction(ws):
        state = read_state(folder)
        if state.state == "queued":
            message = f"Taken out of the queue before it began. {kept(folder)}"
            ended = replace(state, state="cancelled", ended=time.time(), message=message)
            write_state(folder, ended)
        elif not state.has_ended:
            (folder / STOP_FILE).write_text("now" if now else "", encoding="utf-8")
    tick(ws)
    return read_job(folder)


def wait(ws: Workspace, job_id: str, timeout: float | None = None) -> Job:
    """Return the job once it has ended, or as it is after `timeout` seconds; the queue moves meanwhile."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        job = get_job(ws, job_id)
        if job.state in ENDED or (deadline is not None and time.monotonic() >= deadline):
            tick(ws)
            return job
        time.sleep(0.2)
        tick(ws)


def tick(ws: Workspace) -> None:
    """Bring the queue up to date: end what died, watch what lost its supervisor, start what has a free device."""
    with transaction(ws) as database:
        busy: set[str] = set()
        queued: list[tuple[Path, State]] = []
        for folder in _listed(ws, database):
            state = read_state(folder)
            if not (state.has_ended or state.state == "queued" or state.is_alive()):
                state = settle(folder)
            if state.has_ended:
                database.execute("DELETE FROM queue WHERE folder = ?", (_relative(ws, folder),))
            elif state.state == "queued":
                queued.append((folder, state))
            else:
                busy.add(state.device)
                if state.supervisor and not state.supervisor.process():
                    write_state(folder, replace(state, supervisor=_start_supervisor(folder)))
        for folder, state in queued:
            device = next((name for name in devices_for(get_kind(state.kind).place) if name not in busy), None)
            if device is not None:
                busy.add(device)
                started = replace(state, state="starting", device=device, supervisor=_start_supervisor(folder))
                write_state(folder, started)


# ---------------------------------------------------------------- what supervisor and worker share


@contextmanager
def transaction(ws: Workspace) -> Iterator[sqlite3.Connection]:
    """Hold the workspace's one write lock; the system frees it when its holder is killed.

    Raises UserError when the database cannot be opened or written.
    """
    try:
        database = sqlite3.connect(ws.database, timeout=30, isolation_level=None)
        database.execute("PRAGMA synchronous=FULL")
        database.execute("BEGIN IMMEDIATE")
        database.execute(SCHEMA)
    except sqlite3.Error as error:
        raise UserError(f"The queue {ws.database} cannot be used: {error}. {OWN_FOLDER}") from error
    with closing(database):
        try:
            yield database
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")


def change_state(folder: Path, **changes: Any) -> State | None:
    """Change the state of a job that has not ended; None, and nothing changed, when it has."""
    with transaction(workspace_of(folder)):
        state = read_state(folder)
        if state.has_ended:
            return None
        state = replace(state, **changes)
        write_state(folder, state)
        return state


def settle(folder: Path, exit_code: int | None = None) -> State:
    """Write down the end of a job whose worker is gone, unless it did so itself. Call inside a transaction."""
    state = read_state(folder)
    if state.has_ended:
        return state
    if (folder / STOP_FILE).exists():
        outcome = replace(state, state="cancelled", message=f"Stopped before it could save. {kept(folder)}")
    elif exit_code is None or exit_code < 0:
        outcome = replace(state, state="interrupted", error=f"{GONE} {kept(folder)}")
    else:
        error = (
            f"Its process ended with code {exit_code} and did not say why; the end of {LOG_FILE} may. {kept(folder)}"
        )
        outcome = replace(state, state="failed", error=error)
    outcome = replace(outcome, exit_code=exit_code, ended=last_sign(folder))
    write_state(folder, outcome)
    return outcome


# ---------------------------------------------------------------- inside


def _make_folder(ws: Workspace, kind: str, config: Any, title: str, **state: Any) -> Path:
    """Check everything first; then the folder appears whole, under its final name, or not at all."""
    record = get_kind(kind)
    if not isinstance(config, record.config):
        raise TypeError(f"A {kind} job takes a {record.config.__name__}, not a {type(config).__name__}.")
    config = record.prepare(ws, from_json(record.config, to_json(config)))
    title = title or getattr(config, "name", "") or f"{kind} {getattr(config, 'dataset', '')}".strip()
    folder = record.parent_folder(ws) / new_id(title)
    temporary = folder.with_name(f".{folder.name}")
    try:
        temporary.mkdir(parents=True)
        write_json(temporary / CONFIG_FILE, to_json(config))
        write_state(temporary, from_json(State, {"kind": kind, "title": title, "created": time.time(), **state}))
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(f"The job's folder {folder} cannot be written: {error.strerror}. {OWN_FOLDER}") from error
    return folder


def _reopen(ws: Workspace, job_id: str, secrets: Mapping[str, str] | None = None, **changes: Any) -> Path:
    """Forget how the job ended, in one step under the lock; what it made stays."""
    folder = _find(ws, job_id)
    with transaction(ws) as database:
        state, now = present_state(folder)
        if now == "succeeded":
            raise UserError(f"The job {job_id} has succeeded: there is nothing left to do.")
        if now not in ENDED:
            raise UserError(f"The job {job_id} is {now}: only one that has ended can be resumed.")
        for name in (STOP_FILE, PROGRESS_FILE, TRACEBACK_FILE):
            (folder / name).unlink(missing_ok=True)
        fresh = State(kind=state.kind, title=state.title, created=state.created)
        write_state(folder, replace(fresh, **changes))
        database.execute("DELETE FROM queue WHERE folder = ?", (_relative(ws, folder),))  # to its end
        _enlist(database, [folder])
        if secrets:
            _start_now(folder, secrets)
    return folder


def _start_now(folder: Path, secrets: Mapping[str, str]) -> None:
    """Start the job though its device may be busy, which its worker waits for. Call inside a transaction."""
    state = read_state(folder)
    device = devices_for(get_kind(state.kind).place)[0]
    supervisor = _start_supervisor(folder, secrets)
    write_state(folder, replace(state, state="starting", device=device, supervisor=supervisor))


def _folders(ws: Workspace) -> Iterator[Path]:
    for parent in sorted({kind.parent_folder(ws) for kind in KINDS.values()}):
        if parent.is_dir():
            yield from (path.parent for path in parent.glob(f"[!.]*/{STATE_FILE}"))


def _find(ws: Workspace, job_id: str) -> Path:
    check_name(job_id, "job")
    for parent in {kind.parent_folder(ws) for kind in KINDS.values()}:
        if (parent / job_id / STATE_FILE).is_file():
            return parent / job_id
    raise UserError(f"There is no job {job_id}; `sdstudio jobs list` shows those there are.")


def _relative(ws: Workspace, folder: Path) -> str:
    return folder.relative_to(ws.root).as_posix()


def _enlist(database: sqlite3.Connection, folders: Iterable[Path]) -> None:
    rows = sorted(f"{folder.parent.name}/{folder.name}" for folder in folders)
    database.executemany("INSERT OR IGNORE INTO queue (folder) VALUES (?)", [(row,) for row in rows])


def _listed(ws: Workspace, database: sqlite3.Connection) -> list[Path]:
    """The folders of the queue in order; rows whose folder was deleted or damaged go."""
    listed = []
    for (row,) in database.execute("SELECT folder FROM queue ORDER BY position").fetchall():
        if _readable_state(ws.root / row):
            listed.append(ws.root / row)
        else:
            database.execute("DELETE FROM queue WHERE folder = ?", (row,))
    return listed


def _readable_state(folder: Path) -> State | None:
    """None for a folder that was deleted or damaged, so that one such job does not hide the others."""
    try:
        return read_state(folder)
    except UserError:
        return None


def _start_supervisor(folder: Path, secrets: Mapping[str, str] | None = None) -> Identity:
    """Start a supervisor that outlives this process."""
    process = launch(module_command("sdstudio.jobs.supervisor", folder), folder, secrets or {})
    identity = Identity.of(process.pid)
    threading.Thread(target=process.wait, daemon=True).start()  # reaped here if it ends first: no zombie
    return identity
