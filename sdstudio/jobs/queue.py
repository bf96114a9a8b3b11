"""The queue: which job runs next, where, and whether those said to run still do.

Its order and its lock are in `database`; what a job is and how it fares is in the job's folder.
"""

import getpass
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Literal, cast, get_args

from sdstudio.jobs import backends
from sdstudio.jobs.context import PROGRESS_FILE, STOP_FILE
from sdstudio.jobs.database import delist, enlist, job_folders, listed, positions, readable_state, reorder
from sdstudio.jobs.database import transaction as transaction
from sdstudio.jobs.devices import check_placement, compute_devices, devices_needed, free_devices
from sdstudio.jobs.estimating import estimate
from sdstudio.jobs.failures import is_disk_full, kept, oom_kills
from sdstudio.jobs.folder import (
    CONFIG_FILE,
    STATE_FILE,
    TRACEBACK_FILE,
    Identity,
    State,
    read_state,
    write_state,
)
from sdstudio.jobs.kinds import KINDS, get_kind
from sdstudio.jobs.locks import holder
from sdstudio.jobs.processes import launch, module_command
from sdstudio.jobs.reading import ended_job, present_state, read_job
from sdstudio.jobs.transitions import change_state as change_state
from sdstudio.jobs.transitions import settle as settle
from sdstudio.schema import ENDED, Job, JobKind, Placement, UserError, from_json, to_json
from sdstudio.workspace import OWN_FOLDER, Workspace, check_name, new_id, read_json, write_json

Step = Literal["first", "up", "down", "last"]
HERE = Placement()


def submit(
    ws: Workspace,
    kind: str,
    config: Any,
    title: str = "",
    secrets: Mapping[str, str] | None = None,
    placement: Placement = HERE,
    owner: str = "",
) -> Job:
    """Check the config, make the job's folder, queue it and start it if its device is free.

    `secrets` are environment variables, such as HF_TOKEN, for the job's process alone. They reach it through pipes, so
    no file, database, log or command line holds them; as nothing could hand them over later, such a job's process
    starts at once, and waits for its device by itself. `owner` is who asks, else the account that this runs under.
    Raises UserError, with nothing written, when the job could not succeed.
    """
    config = _checked(ws, kind, config, placement, bool(secrets))
    with transaction(ws) as database:
        folder = _make_folder(ws, database, kind, config, title, placement=placement, owner=owner or _account())
        if secrets:
            _start_now(ws, folder, secrets)
        _advance(ws, database)
    return get_job(ws, folder.name)


def run_again(ws: Workspace, job_id: str, secrets: Mapping[str, str] | None = None, owner: str = "") -> Job:
    """Queue a new job with the settings of this one, which stays as it is. `secrets` and `owner` as in `submit`."""
    folder = find_folder(ws, job_id)
    state = read_state(folder)
    config: Any = from_json(get_kind(state.kind).config, read_json(folder / CONFIG_FILE))
    return submit(ws, state.kind, config, state.title, secrets, state.placement, owner)


def resume_job(ws: Workspace, job_id: str, secrets: Mapping[str, str] | None = None) -> Job:
    """Queue an ended job that did not succeed once more; it goes on from what it kept. `secrets` as in `submit`.

    Raises UserError for one that succeeded or has not ended.
    """
    folder = _reopen(ws, job_id)
    with transaction(ws) as database:
        if secrets:
            _start_now(ws, folder, secrets)
        _advance(ws, database)
    return get_job(ws, job_id)


def get_job(ws: Workspace, job_id: str) -> Job:
    """The job of that id; a UserError when there is none."""
    folder = find_folder(ws, job_id)
    job = read_job(folder)
    return replace(job, position=positions(ws).get(folder)) if job.state == "queued" else job


def list_jobs(ws: Workspace, kind: str | None = None) -> list[Job]:
    """Every job of the workspace, or of one kind, newest first, each in the state it is truly in."""
    if kind is not None:
        get_kind(kind)
    states = {folder: state for folder in job_folders(ws) if (state := readable_state(folder))}
    with _while_the_disk_takes_it(), transaction(ws) as database:
        enlist(database, ((folder, state) for folder, state in states.items() if not state.has_ended))
        _advance(ws, database)
    places = positions(ws)
    jobs = [ended_job(folder, state) if state.has_ended else read_job(folder) for folder, state in states.items()]
    jobs = [replace(job, position=places.get(job.folder)) if job.state == "queued" else job for job in jobs]
    return sorted(
        (job for job in jobs if kind in (None, job.kind)), key=lambda job: (job.created, job.id), reverse=True
    )


def stop_job(ws: Workspace, job_id: str, now: bool = False) -> Job:
    """Ask the job to keep what it has and end; with `now`, end its processes at once. A queued one is taken out."""
    folder = find_folder(ws, job_id)
    with transaction(ws) as database:
        state = read_state(folder)
        if state.state == "queued":
            message = f"Taken out of the queue before it began. {kept(folder)}"
            write_state(folder, replace(state, state="cancelled", ended=time.time(), message=message))
        elif not state.has_ended:
            (folder / STOP_FILE).write_text("now" if now else "", encoding="utf-8")
        _advance(ws, database)
    return read_job(folder)


def move(ws: Workspace, job_id: str, to: Step) -> Job:
    """Change the place of a queued job among those queued; a UserError for one that no longer waits."""
    if to not in get_args(Step):
        raise UserError(f"A job is moved {', '.join(get_args(Step))}, not {to!r}.")
    folder = find_folder(ws, job_id)
    with transaction(ws) as database:
        order = [found for found, state in listed(ws, database).items() if state.state == "queued"]
        if folder not in order:
            raise UserError(f"The job {job_id} does not wait in the queue any more, so it has no place to change.")
        place = order.index(folder)
        target = {"first": 0, "up": max(place - 1, 0), "down": place + 1, "last": len(order)}[to]
        order.insert(target, order.pop(place))
        reorder(database, order)
        _advance(ws, database)
    return get_job(ws, job_id)


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
    with _while_the_disk_takes_it(), transaction(ws) as database:
        _advance(ws, database)


# ---------------------------------------------------------------- for a job in the foreground


def claim_inline(ws: Workspace, kind: str, config: Any, title: str = "") -> Path:
    """Make a job that this process itself will do, and return its folder. It takes the first device, as torch does."""
    config = _checked(ws, kind, config, HERE)
    with transaction(ws) as database:
        return _make_folder(ws, database, kind, config, title, owner=_account(), **_inline(kind))


def reclaim_inline(ws: Workspace, job_id: str) -> Path:
    """Make an ended job one that this process itself goes on with, and return its folder."""
    return _reopen(ws, job_id, **_inline(get_job(ws, job_id).kind))


def _inline(kind: str) -> dict[str, Any]:
    device = get_kind(kind).place or compute_devices()[0]
    return {"state": "starting", "device": device, "worker": Identity.of(os.getpid()), "oom_kills": oom_kills()}


# ---------------------------------------------------------------- folders


def _checked(ws: Workspace, kind: str, config: Any, placement: Placement, has_secrets: bool = False) -> Any:
    """The config made complete; a UserError, before anything is written, when the job could not be done."""
    record = get_kind(kind)
    if not isinstance(config, record.config):
        raise TypeError(f"A {kind} job takes a {record.config.__name__}, not a {type(config).__name__}.")
    backends.check(ws, placement, record.place, has_secrets)
    check_placement(placement, record.place)
    if placement.processes > 1 and not record.ranks:
        raise UserError("Only training is done by several processes at once: ask for one.")
    config = record.prepare(ws, from_json(record.config, to_json(config)))
    estimate(ws, kind, config, placement)  # which refuses what the disk cannot hold
    return config


def _make_folder(ws: Workspace, database: Connection, kind: str, config: Any, title: str, **state: Any) -> Path:
    """The job's folder, in the queue; it appears whole, under its final name, or not at all.

    Made inside a transaction, so that the times in the folders and the order of the queue agree.
    """
    title = title or getattr(config, "name", "") or f"{kind} {getattr(config, 'dataset', '')}".strip()
    folder = get_kind(kind).parent_folder(ws) / new_id(title)
    temporary = folder.with_name(f".{folder.name}")
    fresh = State(kind=cast(JobKind, kind), title=title, created=time.time(), **state)
    try:
        temporary.mkdir(parents=True)
        write_json(temporary / CONFIG_FILE, to_json(config))
        write_state(temporary, fresh)
        temporary.rename(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(f"The job's folder {folder} cannot be written: {error.strerror}. {OWN_FOLDER}") from error
    enlist(database, [(folder, fresh)])
    return folder


def _reopen(ws: Workspace, job_id: str, **changes: Any) -> Path:
    """Forget how the job ended, in one step under the lock; what it made stays."""
    folder = find_folder(ws, job_id)
    with transaction(ws) as database:
        state = present_state(folder)
        if state.state == "succeeded":
            raise UserError(f"The job {job_id} has succeeded: there is nothing left to do.")
        if not state.has_ended:
            raise UserError(f"The job {job_id} is {state.state}: only one that has ended can be resumed.")
        for name in (STOP_FILE, PROGRESS_FILE, TRACEBACK_FILE):
            (folder / name).unlink(missing_ok=True)
        fresh = State(
            kind=state.kind, title=state.title, created=state.created, owner=state.owner, placement=state.placement
        )
        write_state(folder, replace(fresh, **changes))
        delist(database, folder)  # it goes to the end
        enlist(database, [(folder, fresh)])
    return folder


def find_folder(ws: Workspace, job_id: str) -> Path:
    """The folder of the job of that id; a UserError when there is none."""
    check_name(job_id, "job")
    for parent in {kind.parent_folder(ws) for kind in KINDS.values()}:
        if (parent / job_id / STATE_FILE).is_file():
            return parent / job_id
    raise UserError(f"There is no job {job_id}; `sdstudio jobs list` shows those there are.")


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return ""


# ---------------------------------------------------------------- what moves the queue; inside a transaction


def _advance(ws: Workspace, database: Connection) -> None:
    """In the queue's order: a job that cannot have all its devices yet keeps those that are free from later ones.

    A device that somebody uses without a job (interactive generation) is the last choice; its worker waits for it.
    """
    busy: set[str] = set()
    queued: list[tuple[Path, State]] = []
    for folder, found in listed(ws, database).items():
        state = found
        if not (state.has_ended or state.state == "queued" or state.is_alive()):
            state = settle(folder)
        if state.has_ended:
            delist(database, folder)
        elif state.state == "queued":
            queued.append((folder, state))
        else:
            busy.update(state.devices)
            if state.supervisor and not state.supervisor.process():
                write_state(folder, replace(state, supervisor=_start_supervisor(folder)))
    for folder, state in queued:
        places = _places(ws, state)
        free, needed = free_devices(state.placement, places, busy), devices_needed(state.placement, places)
        if len(free) >= needed:
            free = tuple(sorted(free, key=lambda device: holder(ws, device) is not None)[:needed])
            _start(folder, state, free)
        busy.update(free)


@contextmanager
def _while_the_disk_takes_it() -> Iterator[None]:
    """A full disk stops the queue, and nobody from reading what is there."""
    try:
        yield
    except (OSError, UserError) as error:
        if not is_disk_full(error):
            raise


def _places(ws: Workspace, state: State) -> tuple[str, ...]:
    place = get_kind(state.kind).place
    if place:
        return (place,)
    name = state.placement.backend
    return compute_devices() if name == backends.LOCAL else backends.places(ws, name)


def _start_now(ws: Workspace, folder: Path, secrets: Mapping[str, str]) -> None:
    """Start the job though its devices may be busy, which its worker waits for."""
    state = read_state(folder)
    places = _places(ws, state)
    needed = devices_needed(state.placement, places)
    _start(folder, state, free_devices(state.placement, places, ())[:needed], secrets)


def _start(folder: Path, state: State, devices: tuple[str, ...], secrets: Mapping[str, str] | None = None) -> None:
    supervisor = _start_supervisor(folder, secrets)
    started = replace(state, state="starting", device=",".join(devices), supervisor=supervisor, oom_kills=oom_kills())
    write_state(folder, replace(started, starts=state.starts + 1))


def _start_supervisor(folder: Path, secrets: Mapping[str, str] | None = None) -> Identity:
    """Start a supervisor that outlives this process."""
    process = launch(module_command("sdstudio.jobs.supervisor", folder), folder, secrets or {})
    identity = Identity.of(process.pid)
    threading.Thread(target=process.wait, daemon=True).start()  # reaped here if it ends first: no zombie
    return identity
