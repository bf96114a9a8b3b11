"""A kind of job that only counts, for tests of the machinery around jobs: real processes, and no work to wait for.

`install` puts it in the place of one kind, in this process and in every process that is started with `environment`.
"""

import os
import sys
import time
from pathlib import Path

from sdstudio import jobs
from sdstudio.jobs import kinds
from sdstudio.jobs.context import JobContext
from sdstudio.jobs.kinds import Kind
from sdstudio.schema import GenerateConfig, Job
from sdstudio.workspace import Workspace

HERE = Path(__file__).parent
STARTS = "starts.txt"
TICK = 0.05


def install() -> None:
    """Make 'generate' a job that counts to the number its one prompt says."""
    kinds.KINDS["generate"] = Kind(
        config=GenerateConfig,
        function="light_jobs:count",
        parent="tasks",
        prepare=lambda ws, config: config,
        ranks=True,
    )


def count(config: GenerateConfig, context: JobContext) -> bool:
    """Write down that somebody began, then count slowly, stopping when asked."""
    with (context.folder / STARTS).open("a") as file:
        file.write(f"{os.getpid()}\n")
    total = int(config.prompts[0])
    for done in range(total):
        if context.should_stop():
            return False
        context.progress(done + 1, total, "ticks")
        time.sleep(TICK)
    return True


def submit(ws: Workspace, ticks: int, title: str = "") -> Job:
    return jobs.submit(ws, "generate", GenerateConfig(prompts=[str(ticks)], models=[]), title or "light")


def starts(job: Job) -> int:
    """How often somebody began to do the job."""
    path = job.folder / STARTS
    return len(path.read_text().splitlines()) if path.exists() else 0


def environment(folder: Path) -> dict[str, str]:
    """Variables under which every Python process installs the light kind when it starts, by its sitecustomize."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text("import light_jobs\n\nlight_jobs.install()\n")
    paths = [str(folder), str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "SDSTUDIO_DEVICES": "cpu:0,cpu:1"}


def serve(ws: Workspace, name: str) -> None:
    """What a studio's server does to the queue, without end: look at all jobs, and keep a few of its own going."""
    number = 0
    (ws.root / f"{name} serves").touch()
    while True:
        unfinished = [job for job in jobs.list_jobs(ws) if job.state not in ("succeeded", "interrupted", "cancelled")]
        if len(unfinished) < 4:
            submit(ws, ticks=40, title=f"{name} {number}")
            number += 1
        time.sleep(0.1)


if __name__ == "__main__":
    serve(Workspace(Path(sys.argv[1])), sys.argv[2])
