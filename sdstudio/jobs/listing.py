"""The jobs under way, cheaply: a page looks at them every few seconds, however many have ended."""

from dataclasses import replace

from sdstudio.jobs.database import listed, transaction
from sdstudio.jobs.reading import read_job
from sdstudio.schema import ENDED, Job
from sdstudio.workspace import Workspace


def live_jobs(ws: Workspace) -> list[Job]:
    """The jobs that have not ended: those that run in the order they were asked for, then the queue in its order."""
    with transaction(ws) as database:
        folders = list(listed(ws, database))
    jobs = [job for job in map(read_job, folders) if job.state not in ENDED]
    queued = [job for job in jobs if job.state == "queued"]
    running = [job for job in jobs if job.state != "queued"]
    return [*running, *(replace(job, position=place) for place, job in enumerate(queued, start=1))]
