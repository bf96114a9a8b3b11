"""How a job's state changes: under the workspace's lock, and never again once it has ended."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sdstudio.jobs.context import STOP_FILE
from sdstudio.jobs.database import transaction
from sdstudio.jobs.failures import explain_end, kept
from sdstudio.jobs.folder import State, free_reserve, last_sign, read_state, workspace_of, write_state

STARTS = 3
"""How often a job is started when whatever killed its processes did so before any of them took it up."""


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
    outcome = ending(folder, state, exit_code)
    free_reserve(folder)
    write_state(folder, outcome)
    return outcome


def ending(folder: Path, state: State, exit_code: int | None = None) -> State:
    """How a job whose worker is gone ended; back in the queue if none had taken it up, but not for ever."""
    stopped, failed = (folder / STOP_FILE).exists(), exit_code is not None and exit_code > 0
    if state.worker is None and not (stopped or failed) and state.starts < STARTS:
        return replace(state, state="queued", device="", attempt="", supervisor=None)
    state = replace(state, exit_code=exit_code, ended=last_sign(folder))
    if stopped:
        return replace(state, state="cancelled", message=f"Stopped before it could save. {kept(folder)}")
    return replace(state, state="failed" if failed else "interrupted", error=explain_end(state, folder, exit_code))
