"""Jobs: anything longer than a second, done in a process of its own, its folder the truth about it.

job = submit(ws, "caption", CaptionConfig(dataset="cats"))
job = wait(ws, job.id)
"""

from sdstudio.jobs.deleting import clean, delete_job, deleted_pictures, empty_trash, restore_job, trash
from sdstudio.jobs.devices import devices
from sdstudio.jobs.estimating import estimate
from sdstudio.jobs.inline import resume_inline, run_inline
from sdstudio.jobs.listing import live_jobs
from sdstudio.jobs.queue import get_job, list_jobs, move, resume_job, run_again, stop_job, submit, tick, wait
from sdstudio.jobs.reading import latest_metrics, may_need_token, read_log, read_metrics, read_traceback

__all__ = [
    "clean",
    "delete_job",
    "deleted_pictures",
    "devices",
    "empty_trash",
    "estimate",
    "get_job",
    "latest_metrics",
    "list_jobs",
    "live_jobs",
    "may_need_token",
    "move",
    "read_log",
    "read_metrics",
    "read_traceback",
    "restore_job",
    "resume_inline",
    "resume_job",
    "run_again",
    "run_inline",
    "stop_job",
    "submit",
    "tick",
    "trash",
    "wait",
]
