"""Doing a job, in whatever process, and writing down how it ended."""

import errno
import os
import time
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sdstudio.jobs.context import JobContext
from sdstudio.jobs.devices import device_lock
from sdstudio.jobs.folder import CONFIG_FILE, TRACEBACK_FILE, kept, read_progress, read_state
from sdstudio.jobs.kinds import get_kind
from sdstudio.jobs.queue import change_state
from sdstudio.schema import UserError, from_json
from sdstudio.workspace import atomic_write, read_json


def execute(context: JobContext) -> Exception | None:
    """Do the job in `context.folder` and write down how it ended; the exception, if it failed on one.

    The device's lock is held from before the first import of the job's code until after its end is written.
    """
    folder = context.folder
    state = read_state(folder)
    lock = device_lock(context.workspace, state.device)
    try:
        if not _take(lock, context, state.device):
            _finish(folder, state="cancelled", message="Stopped before it began.")
            return None
        change_state(folder, state="running", started=time.time())
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers reads it too; a log shows no bars
        kind = get_kind(state.kind)
        config: Any = from_json(kind.config, read_json(folder / CONFIG_FILE))
        finished = kind.load()(config, context)
    except KeyboardInterrupt:
        _finish(folder, state="cancelled", message=f"Stopped before it could save. {kept(folder)}")
    except Exception as error:
        traceback.print_exc()
        atomic_write(folder / TRACEBACK_FILE, traceback.format_exc())
        _finish(folder, state="failed", error=explain(error), traceback=TRACEBACK_FILE, exit_code=1)
        return error
    else:
        if finished:
            message = str(read_progress(folder).get("message", ""))
            _finish(folder, state="succeeded", message=message, exit_code=0)
        else:
            _finish(folder, state="cancelled", message=f"Stopped as asked. {kept(folder)}", exit_code=0)
    finally:
        lock.release()
    return None


def _take(lock: FileLock, context: JobContext, device: str) -> bool:
    """Wait for the device; False when the job was stopped meanwhile."""
    told = False
    while not context.should_stop():
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            if not told:
                said = f"waits for {device}, where something else is running"
                context.progress(0, 0, message=said)
                context.log(f"It {said}.")
                told = True
        else:
            return True
    return False


def _finish(folder: Path, **outcome: Any) -> None:
    change_state(folder, ended=time.time(), **outcome)


def explain(error: Exception) -> str:
    """One sentence for the person whose job failed."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "There was not enough memory; use a smaller batch or resolution, or close what else uses it."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full; free some space and start the job again."
    what = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return f"It failed on something unforeseen ({what}); {TRACEBACK_FILE} in its folder says where."
