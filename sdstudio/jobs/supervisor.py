"""The detached process that watches one job: `python -m sdstudio.jobs.supervisor RUN_DIR`.

It starts the worker (or takes over one whose supervisor was killed), stops it in three steps when asked (the STOP
file, then terminate, then kill), writes down an end that the worker could not, and moves the queue on.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex

from sdstudio.jobs.backends import Ended, Worker, get_backend
from sdstudio.jobs.context import STOP_FILE
from sdstudio.jobs.folder import LOG_FILE, State, read_state, workspace_of
from sdstudio.jobs.processes import receive_secrets
from sdstudio.jobs.queue import change_state, settle, tick, transaction
from sdstudio.schema import UserError

GRACE = 120.0
"""Seconds that a job has for saving after STOP, before it is terminated."""
PATIENCE = 10.0
"""Seconds between terminate and kill."""
POLL = 0.2


def supervise(
    folder: Path, grace: float = GRACE, patience: float = PATIENCE, secrets: Mapping[str, str] | None = None
) -> None:
    """Watch the job in `folder` to its end. Returns at once when this process is not its supervisor.

    `secrets` are environment variables for the worker, if this is who starts it.
    """
    ws = workspace_of(folder)
    with transaction(ws):
        state = read_state(folder)
    if state.has_ended or state.supervisor is None or not state.supervisor.is_this_process():
        return
    try:
        worker = _reattach(folder, state) if state.attempt else _start(folder, state, secrets or {})
    except UserError as error:
        change_state(folder, state="failed", error=str(error), ended=time.time())
    else:
        ended = _watch(worker, folder, grace, patience) if worker else Ended()
        _end(folder, ended)
    tick(ws)


def _start(folder: Path, state: State, secrets: Mapping[str, str]) -> Worker | None:
    """Start the worker under a new attempt, written down first so that no later supervisor starts another."""
    begun = change_state(folder, attempt=token_hex(4))
    return get_backend(state.placement.backend).start(folder, begun, secrets) if begun else None


def _reattach(folder: Path, state: State) -> Worker | None:
    return get_backend(state.placement.backend).reattach(folder, state)


def _watch(worker: Worker, folder: Path, grace: float, patience: float) -> Ended:
    """Wait for the worker's end, escalating once a stop was asked.

    A worker that has said it is done and does not go, or whose cluster no longer answers, is not waited for.
    """
    asked: float | None = None
    terminated: float | None = None
    said: float | None = None
    while (ended := worker.wait(POLL)) is None:
        now = time.monotonic()
        if _has_ended(folder):
            said = said if said is not None else now
            if now - said > patience:
                ended = Ended()
                break
        stop = folder / STOP_FILE
        if not stop.exists():
            continue
        asked = asked if asked is not None else now
        if terminated is None and (now - asked > grace or stop.read_text(encoding="utf-8") == "now"):
            terminated = now
            worker.terminate()
        elif terminated is not None and now - terminated > patience:
            worker.kill()
    worker.kill()
    return ended


def _has_ended(folder: Path) -> bool:
    try:
        return read_state(folder).has_ended
    except UserError:  # deleted meanwhile, as only an ended job can be
        return True


def _end(folder: Path, ended: Ended) -> None:
    with transaction(workspace_of(folder)):
        state = read_state(folder)
        if state.has_ended or state.supervisor is None or not state.supervisor.is_this_process():
            return  # it said so itself, or it was resumed, which is another's to watch
        if ended.said:
            with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
                log.write(f"{ended.said}\n")
        settle(folder, ended.exit_code)


if __name__ == "__main__":
    supervise(Path(sys.argv[1]).resolve(), secrets=receive_secrets())
