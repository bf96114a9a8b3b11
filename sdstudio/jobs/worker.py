"""The process that does a job: `python -m sdstudio.jobs.worker RUN_DIR`."""

import os
import sys
from pathlib import Path

from sdstudio.jobs.context import JobContext
from sdstudio.jobs.execute import execute
from sdstudio.jobs.folder import Identity, workspace_of
from sdstudio.jobs.processes import receive_secrets
from sdstudio.jobs.queue import change_state


def main(folder: Path) -> int:
    """Claim the job and do it; 0 unless it failed. A job that meanwhile ended is left alone."""
    state = change_state(folder, worker=Identity.of(os.getpid()))
    if state is None:
        return 0
    return 0 if execute(JobContext(workspace_of(folder), folder)) is None else 1


if __name__ == "__main__":
    os.environ.update(receive_secrets())
    sys.exit(main(Path(sys.argv[1]).resolve()))
