"""Jobs: anything longer than a second, done in a process of its own, its folder the truth about it.

job = submit(ws, "caption", CaptionConfig(dataset="cats"))
job = wait(ws, job.id)
"""

from sdstudio.jobs.folder import read_log, read_metrics
from sdstudio.jobs.inline import resume_inline, run_inline
from sdstudio.jobs.queue import get_job, list_jobs, resume_job, stop_job, submit, tick, wait

__all__ = [
    "get_job",
    "list_jobs",
    "read_log",
    "read_metrics",
    "resume_inline",
    "resume_job",
    "run_inline",
    "stop_job",
    "submit",
    "tick",
    "wait",
]
