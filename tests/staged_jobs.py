"""Jobs in whatever state, without a process that does them, for the tests of pages."""

import os
import time
from dataclasses import replace
from typing import Any

from sdstudio import jobs
from sdstudio.jobs.folder import Identity, read_state, write_state
from sdstudio.schema import GenerateConfig, Job
from sdstudio.workspace import Workspace


def asked(workspace: Workspace, title: str = "", kind: str = "generate", **changes: Any) -> Job:
    """A job that waits, or is in the state that `changes` say."""
    job = jobs.submit(workspace, "generate", GenerateConfig(prompts=["a cat"]), title or "a cat")
    write_state(job.folder, replace(read_state(job.folder), kind=kind, **changes))
    return jobs.get_job(workspace, job.id)


def running(workspace: Workspace, title: str = "", **changes: Any) -> Job:
    """A job that this very process seems to do."""
    me = Identity.of(os.getpid())
    started = {"state": "running", "device": "cpu", "worker": me, "supervisor": me, "started": time.time() - 60}
    return asked(workspace, title, **(started | changes))


def ended(workspace: Workspace, title: str = "", state: str = "succeeded", **changes: Any) -> Job:
    now = time.time()
    return asked(workspace, title, state=state, started=now - 90, ended=now - 30, device="cpu", **changes)
