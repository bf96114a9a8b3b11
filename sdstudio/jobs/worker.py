"""The process that does a job: `python -m sdstudio.jobs.worker RUN_DIR --attempt NAME`."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from sdstudio.jobs.context import JobContext
from sdstudio.jobs.execute import execute
from sdstudio.jobs.folder import LOG_FILE, Identity, read_state, workspace_of, write_state
from sdstudio.jobs.processes import SECRETS, receive_secrets
from sdstudio.jobs.queue import transaction


def main(folder: Path, attempt: str) -> int:
    """Claim the job and do it; 0 unless it failed. A job that is not this worker's to do is left alone."""
    if not claim(folder, attempt):
        return 0
    return 0 if execute(JobContext(workspace_of(folder), folder)) is None else 1


def claim(folder: Path, attempt: str) -> bool:
    """Become the job's one worker; False when it has ended, was started anew, or has a worker already."""
    with transaction(workspace_of(folder)):
        state = read_state(folder)
        if state.has_ended or state.attempt != attempt or state.worker is not None:
            return False
        write_state(folder, replace(state, worker=Identity.of(os.getpid())))
        return True


def write_into_log(folder: Path) -> None:
    """Send all that this process prints, and what it starts prints, to the job's log."""
    with (folder / LOG_FILE).open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--attempt", required=True)
    parser.add_argument("--log", action="store_true", help="print into the job's log, where no supervisor sees to it")
    parser.add_argument(SECRETS, action="store_true", help="read secrets from standard input")
    arguments = parser.parse_args()
    os.environ.update(receive_secrets())
    if arguments.log:
        write_into_log(arguments.folder)
    sys.exit(main(arguments.folder.resolve(), arguments.attempt))
