"""`sdstudio jobs …`: what is queued, running and done, and what can be done about it."""

import argparse
import time
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import get_args

from sdstudio import jobs
from sdstudio.cli.flags import Command, Group, add_detach_flag, hub_secrets, say, table, whole_number
from sdstudio.cli.outcomes import EXIT_OK, ended, queued
from sdstudio.jobs.folder import LOG_FILE
from sdstudio.jobs.queue import Step
from sdstudio.schema import ENDED, Job, UserError, to_json
from sdstudio.words import count, size
from sdstudio.workspace import Workspace

SHOWN = ("id", "kind", "title", "state", "owner", "device", "progress", "message", "error", "traceback", "folder")
POLL = 0.5


def _configure_list(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("--kind", help="only jobs of this kind")
    child.add_argument("--deleted", action="store_true", help="those in the trash instead")


def _list(ws: Workspace, arguments: argparse.Namespace) -> int:
    found = jobs.trash(ws) if arguments.deleted else jobs.list_jobs(ws, arguments.kind)
    rows = [
        (job.id, job.kind, _state(job), job.owner, job.device, _progress(job), job.error or job.title) for job in found
    ]
    text = table(rows, "job", "kind", "state", "owner", "device", "progress", "")
    say(arguments, [to_json(job) for job in found], text)
    return EXIT_OK


def _job_argument(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("id", metavar="JOB", help="the job's id")


def _show(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.get_job(ws, arguments.id)
    facts = {**to_json(job), "state": _state(job), "progress": _progress(job)}
    text = "\n".join(f"{key:9} {facts[key]}" for key in SHOWN if facts[key])
    say(arguments, to_json(job), text)
    return EXIT_OK


def _configure_logs(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _job_argument(child, argv)
    child.add_argument("--lines", type=whole_number(1), default=50, help="how many of the last lines (default 50)")
    child.add_argument("--follow", action="store_true", help="go on printing what is added until the job has ended")


def _logs(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.get_job(ws, arguments.id)
    if not arguments.follow:
        log = jobs.read_log(job, arguments.lines)
        say(arguments, log.splitlines(), log.rstrip("\n"))
        return EXIT_OK
    if arguments.json:
        raise UserError("A log that is followed is printed as it grows: leave out --json, or --follow.")
    path = job.folder / LOG_FILE
    seen = _print_from(path, _start_of_last(path, arguments.lines))
    while job.state not in ENDED:
        time.sleep(POLL)
        jobs.tick(ws)
        job = jobs.get_job(ws, job.id)
        seen = _print_from(path, seen)
    print(job.error or job.message or f"It has {job.state}.")
    return EXIT_OK


def _start_of_last(path: Path, lines: int) -> int:
    """The byte where the last `lines` whole lines begin."""
    starts = deque([0], maxlen=lines + 1)
    if path.exists():
        with path.open("rb") as log:
            starts.extend(accumulate(len(line) for line in log if line.endswith(b"\n")))
    return starts[0]


def _print_from(path: Path, seen: int) -> int:
    """Print the whole lines behind the byte `seen`; where they end."""
    if not path.exists():
        return seen
    with path.open("rb") as log:
        log.seek(seen)
        new = log.read()
    whole = new[: new.rfind(b"\n") + 1]
    print(whole.decode("utf-8", "replace"), end="", flush=True)
    return seen + len(whole)


def _configure_stop(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _job_argument(child, argv)
    child.add_argument("--now", action="store_true", help="end it at once, without letting it save")


def _stop(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.stop_job(ws, arguments.id, now=arguments.now)
    say(arguments, to_json(job), f"{job.id} is {job.state}. {job.message}".rstrip())
    return EXIT_OK


def _configure_resume(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _job_argument(child, argv)
    add_detach_flag(child)


def _resume(ws: Workspace, arguments: argparse.Namespace) -> int:
    if arguments.detach:
        return queued(arguments, jobs.resume_job(ws, arguments.id, _secrets(ws, arguments.id)))
    return ended(arguments, jobs.resume_inline(ws, arguments.id))


def _again(ws: Workspace, arguments: argparse.Namespace) -> int:
    return queued(arguments, jobs.run_again(ws, arguments.id, _secrets(ws, arguments.id)))


def _secrets(ws: Workspace, job_id: str) -> dict[str, str]:
    """What the job is handed once more, as nothing has kept it."""
    return hub_secrets() if jobs.may_need_token(jobs.get_job(ws, job_id)) else {}


def _configure_move(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _job_argument(child, argv)
    child.add_argument("to", choices=get_args(Step), help="its new place among the queued jobs")


def _move(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.move(ws, arguments.id, arguments.to)
    where = f"is number {job.position} in the queue" if job.position else f"is {job.state}"
    say(arguments, to_json(job), f"{job.id} {where}.")
    return EXIT_OK


def _delete(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.delete_job(ws, arguments.id)
    text = f"{job.id} is in the trash: `sdstudio jobs restore {job.id}` brings it back, until `sdstudio jobs clean`."
    say(arguments, to_json(job), text)
    return EXIT_OK


def _restore(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.restore_job(ws, arguments.id)
    say(arguments, to_json(job), f"{job.id} is back; it is {job.state}.")
    return EXIT_OK


def _clean(ws: Workspace, arguments: argparse.Namespace) -> int:
    cleaned = jobs.clean(ws)
    removed = count(cleaned.folders, "folder")
    if cleaned.pictures:
        removed += f" and {count(cleaned.pictures, 'deleted picture')}"
    say(arguments, to_json(cleaned), f"{removed} removed, {size(cleaned.size)} freed.")
    return EXIT_OK


def _state(job: Job) -> str:
    return f"{job.state} ({job.position})" if job.position else job.state


def _progress(job: Job) -> str:
    """'230/600 steps, 3.1 a second, about 2 min left'."""
    parts = [f"{job.done}/{job.total} {job.unit}".strip()] if job.total else []
    if job.rate is not None and job.left is not None:
        rate = f"{job.rate:.3g} a second" if job.rate >= 1 else f"{1 / job.rate:.3g} s each"
        left = f"{job.left:.0f} s" if job.left < 120 else f"{job.left / 60:.0f} min"
        parts += [rate, f"about {left} left"]
    return ", ".join(parts)


JOBS = Group(
    help="What is queued, running and done.",
    commands={
        "list": Command(
            help="List the jobs, newest first.",
            run=_list,
            configure=_configure_list,
            examples="  sdstudio jobs list\n  sdstudio jobs list --kind train --json",
        ),
        "show": Command(
            help="Show one job: how far it is, what it waits for, why it failed.",
            run=_show,
            configure=_job_argument,
            examples="  sdstudio jobs show JOB",
        ),
        "logs": Command(
            help="Print the end of a job's log.",
            run=_logs,
            configure=_configure_logs,
            examples="  sdstudio jobs logs JOB --lines 200\n  sdstudio jobs logs JOB --follow",
        ),
        "stop": Command(
            help="Ask a job to keep what it has and end.",
            run=_stop,
            configure=_configure_stop,
            examples="  sdstudio jobs stop JOB        a training keeps a checkpoint, to go on from\n"
            "  sdstudio jobs stop JOB --now",
        ),
        "resume": Command(
            help="Go on with a job that was stopped, failed or was killed, from what it kept.",
            run=_resume,
            configure=_configure_resume,
            examples="  sdstudio jobs resume JOB\n  sdstudio jobs resume JOB --detach",
        ),
        "again": Command(
            help="Queue a new job with the settings of this one.",
            run=_again,
            configure=_job_argument,
            examples="  sdstudio jobs again JOB",
        ),
        "move": Command(
            help="Change a queued job's place.",
            run=_move,
            configure=_configure_move,
            examples="  sdstudio jobs move JOB first",
        ),
        "delete": Command(
            help="Put a job that does not run into the trash with its files.",
            run=_delete,
            configure=_job_argument,
            examples="  sdstudio jobs delete JOB        `sdstudio jobs restore JOB` brings it back",
        ),
        "restore": Command(
            help="Bring a deleted job back.",
            run=_restore,
            configure=_job_argument,
            examples="  sdstudio jobs list --deleted\n  sdstudio jobs restore JOB",
        ),
        "clean": Command(
            help="Empty the trash, and remove what killed processes left half made.",
            run=_clean,
            examples="  sdstudio jobs clean",
        ),
    },
)
