"""Doing a job, in whatever process, and writing down how it ended."""

import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sdstudio.jobs.backends import LOCAL, RAY
from sdstudio.jobs.context import JobContext
from sdstudio.jobs.failures import explain, kept, without_tokens
from sdstudio.jobs.folder import (
    CONFIG_FILE,
    TRACEBACK_FILE,
    State,
    free_reserve,
    read_progress,
    read_state,
    take_reserve,
)
from sdstudio.jobs.kinds import get_kind
from sdstudio.jobs.locks import Lease, busy_text
from sdstudio.jobs.ranks import run_in_ranks
from sdstudio.jobs.transitions import change_state
from sdstudio.schema import from_json
from sdstudio.workspace import atomic_write, read_json


def execute(context: JobContext) -> Exception | None:
    """Do the job in `context.folder` and write down how it ended; the exception, if it failed on one.

    The device's lock is held from before the first import of the job's code until after its end is written.
    """
    folder = context.folder
    state = read_state(folder)
    here = state.devices if state.placement.backend == LOCAL else ()  # a cluster sees to its devices itself
    lease = Lease(context.workspace, here, f"the job {state.title}", job=folder.name)
    try:
        if not lease.acquire(_patience(context, lease)):
            _finish(folder, state="cancelled", message="Stopped before it began.")
            return None
        take_reserve(folder)
        if change_state(folder, state="running", started=time.time()) is None:
            return None
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers reads it too; a log shows no bars
        finished = _do(context, state)
    except KeyboardInterrupt:
        _finish(folder, state="cancelled", message=f"Stopped before it could save. {kept(folder)}")
    except Exception as error:
        raised, said = without_tokens(traceback.format_exc()), without_tokens(explain(error, folder))
        with suppress(OSError):
            print(raised, file=sys.stderr)
        free_reserve(folder)
        atomic_write(folder / TRACEBACK_FILE, raised)
        _finish(folder, state="failed", error=said, traceback=TRACEBACK_FILE, exit_code=1)
        return error
    else:
        if finished:
            message = str(read_progress(folder).get("message", ""))
            _finish(folder, state="succeeded", message=message, exit_code=0)
        else:
            _finish(folder, state="cancelled", message=f"Stopped as asked. {kept(folder)}", exit_code=0)
    finally:
        lease.release()
    return None


def _do(context: JobContext, state: State) -> bool:
    """Do the job here or, where several processes were asked for, in those; False when it was stopped early."""
    if state.placement.processes > 1:
        return run_in_ranks(context.folder, state.placement.processes)
    kind = get_kind(state.kind)
    config: Any = from_json(kind.config, read_json(context.folder / CONFIG_FILE))
    return kind.load(bulk=state.placement.backend == RAY)(config, context)


def _patience(context: JobContext, lease: Lease) -> Callable[[], bool]:
    """Wait for the devices until the job is stopped, and say once for whom."""
    told = False

    def wait() -> bool:
        nonlocal told
        if not told:
            said = f"waits: {busy_text(context.workspace, lease.devices)}"
            context.progress(0, 0, message=said)
            context.log(f"It {said}.")
            told = True
        return not context.should_stop()

    return wait


def _finish(folder: Path, **outcome: Any) -> None:
    free_reserve(folder)
    change_state(folder, ended=time.time(), **outcome)
