"""The same job in the foreground of this process, for the command line."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from sdstudio.jobs.context import STOP_FILE, JobContext
from sdstudio.jobs.execute import execute
from sdstudio.jobs.folder import LOG_FILE, read_progress
from sdstudio.jobs.queue import claim_inline, reclaim_inline, tick
from sdstudio.jobs.reading import pace, read_job
from sdstudio.schema import Job, UserError
from sdstudio.workspace import Workspace


def run_inline(ws: Workspace, kind: str, config: Any, title: str = "", echo: bool = True) -> Job:
    """Do the job here and return it ended; with `echo` its progress and log lines go to standard error.

    What the job's libraries print goes to the job's log. Ctrl-C asks the job to save and end; a second one ends it
    at once. Raises UserError when the job ended on one.
    """
    return _do(ws, claim_inline(ws, kind, config, title), echo)


def resume_inline(ws: Workspace, job_id: str, echo: bool = True) -> Job:
    """Go on with an ended job here, as `run_inline` does one; a UserError where `resume_job` raises one."""
    return _do(ws, reclaim_inline(ws, job_id), echo)


def _do(ws: Workspace, folder: Path, echo: bool) -> Job:
    context = EchoContext(ws, folder, sys.stderr) if echo else JobContext(ws, folder)
    with ExitStack() as stack:
        log = stack.enter_context((folder / LOG_FILE).open("a", encoding="utf-8", buffering=1))
        stack.enter_context(redirect_stdout(log))
        stack.enter_context(redirect_stderr(log))
        stack.enter_context(_stop_on_interrupt(folder))
        error = execute(context)
    if isinstance(context, EchoContext):
        context.end_line()
    tick(ws)
    if isinstance(error, UserError):
        raise error
    return read_job(folder)


@dataclass(frozen=True)
class EchoContext(JobContext):
    """A job's context that also shows progress on `screen`: one line, rewritten, where that is a terminal."""

    screen: TextIO

    def progress(self, done: int, total: int, unit: str = "", message: str = "") -> None:
        super().progress(done, total, unit, message)
        if self.screen.isatty():
            _, left = pace(read_progress(self.folder), time.time())
            self.screen.write(f"\r\x1b[2K{_line(done, total, unit, message, left)}")
            self.screen.flush()

    def log(self, text: str) -> None:
        super().log(text)
        self.end_line()
        print(text, file=self.screen, flush=True)

    def end_line(self) -> None:
        if self.screen.isatty():
            self.screen.write("\r\x1b[2K")


def _line(done: int, total: int, unit: str, message: str, left: float | None) -> str:
    parts = [f"{done}/{total} {unit}".strip()] if total else []
    if left is not None and done < total:
        parts.append(f"about {left:.0f} s left")
    return "   ".join([*parts, message] if message else parts)


@contextmanager
def _stop_on_interrupt(folder: Path) -> Iterator[None]:
    """Turn the first Ctrl-C into the job's STOP file; only the main thread can receive it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(signum: int, frame: FrameType | None) -> None:
        if (folder / STOP_FILE).exists():
            raise KeyboardInterrupt
        (folder / STOP_FILE).touch()
        print("\nStopping: the job saves what it has. Ctrl-C again ends it at once.", file=sys.__stderr__, flush=True)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
