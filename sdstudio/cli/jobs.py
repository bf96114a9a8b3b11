"""`sdstudio jobs …`: what is queued, running and done."""

import argparse
from collections.abc import Sequence

from sdstudio import jobs
from sdstudio.cli.flags import Command, Group, add_detach_flag, say, table, whole_number
from sdstudio.cli.outcomes import EXIT_OK, ended, queued
from sdstudio.schema import Job, to_json
from sdstudio.workspace import Workspace

SHOWN = ("id", "kind", "title", "state", "progress", "message", "error", "folder")


def _configure_list(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("--kind", help="only jobs of this kind")


def _list(ws: Workspace, arguments: argparse.Namespace) -> int:
    found = jobs.list_jobs(ws, arguments.kind)
    rows = [(job.id, job.kind, job.state, _progress(job), job.error or job.title) for job in found]
    say(arguments, [to_json(job) for job in found], table(rows, "job", "kind", "state", "progress", ""))
    return EXIT_OK


def _job_argument(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    child.add_argument("id", metavar="JOB", help="the job's id")


def _show(ws: Workspace, arguments: argparse.Namespace) -> int:
    job = jobs.get_job(ws, arguments.id)
    facts = {**to_json(job), "progress": _progress(job)}
    text = "\n".join(f"{key:9} {facts[key]}" for key in SHOWN if facts[key])
    say(arguments, to_json(job), text)
    return EXIT_OK


def _configure_logs(child: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    _job_argument(child, argv)
    child.add_argument("--lines", type=whole_number(1), default=50, help="how many of the last lines (default 50)")


def _logs(ws: Workspace, arguments: argparse.Namespace) -> int:
    log = jobs.read_log(jobs.get_job(ws, arguments.id), arguments.lines)
    say(arguments, log.splitlines(), log.rstrip("\n"))
    return EXIT_OK


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
        return queued(arguments, jobs.resume_job(ws, arguments.id))
    return ended(arguments, jobs.resume_inline(ws, arguments.id))


def _progress(job: Job) -> str:
    return f"{job.done}/{job.total} {job.unit}".strip() if job.total else ""


JOBS = Group(
    help="What is queued, running and done.",
    commands={
        "list": Command(help="List the jobs, newest first.", run=_list, configure=_configure_list),
        "show": Command(help="Show one job.", run=_show, configure=_job_argument),
        "logs": Command(help="Print the end of a job's log.", run=_logs, configure=_configure_logs),
        "stop": Command(help="Ask a job to keep what it has and end.", run=_stop, configure=_configure_stop),
        "resume": Command(
            help="Go on with a job that was stopped, failed or was killed, from what it kept.",
            run=_resume,
            configure=_configure_resume,
        ),
    },
)
