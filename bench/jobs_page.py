"""Server time of the Jobs page, and of one look of the sidebar's indicator, with few and with many ended jobs.

    python bench/jobs_page.py

Prints milliseconds and the ratio: the first run of a fresh server process, and the median of later ones. The bar is
300 ms for a page with 2,000 ended jobs.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sdstudio import jobs
from sdstudio.jobs.folder import State, write_state
from sdstudio.workspace import Workspace, write_json

ROOT = Path(__file__).parents[1]
FEW, MANY = 20, 2000
RUNS = 7
KINDS = {"train": "runs", "generate": "images", "evaluate": "evaluations", "caption": "tasks"}
STATES = ("succeeded", "succeeded", "failed", "cancelled", "interrupted")
CODE = """
import statistics, sys, time
from streamlit.testing.v1 import AppTest
from sdstudio import jobs
from sdstudio.starter import examples
from sdstudio.workspace import current_workspace
examples.EXAMPLES = ()  # drawn beside the first run, they would be measured with it
app = AppTest.from_file(sys.argv[1], default_timeout=300)
app.switch_page(sys.argv[2])
def seconds(act):
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
first = seconds(app.run)
assert app.title[0].value == 'Jobs' and not app.exception, app.exception
later = statistics.median(seconds(app.run) for _ in range(int(sys.argv[3])))
look = statistics.median(seconds(lambda: jobs.live_jobs(current_workspace())) for _ in range(int(sys.argv[3])))
print(first, later, look)
"""


def fill(workspace: Workspace, number: int) -> None:
    """`number` jobs that ended, a quarter of an hour apart."""
    now = time.time()
    for index in range(number):
        kind = list(KINDS)[index % len(KINDS)]
        folder = workspace.root / KINDS[kind] / f"20260101-000000-job-{index:05d}"
        folder.mkdir(parents=True)
        began = now - 900 * (number - index)
        state = STATES[index % len(STATES)]
        error = "The disk is full." if state == "failed" else ""
        write_state(
            folder,
            State(kind=kind, title=f"{kind} {index}", created=began, started=began, ended=began + 600,
                  state=state, device="cpu", error=error),
        )  # fmt: skip
        write_json(folder / "progress.json", {"done": 100, "total": 100, "unit": "steps", "message": "", "time": began})
        write_json(folder / "config.json", {"dataset": "asim-style"})
    assert len(jobs.list_jobs(workspace)) == number


def milliseconds(number: int) -> list[float]:
    """First run of the page, median of later runs, one look of the indicator."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Workspace(Path(folder)), number)
        environment = os.environ | {"SDSTUDIO_WORKSPACE": folder}
        command = [
            sys.executable,
            "-c",
            CODE,
            str(ROOT / "sdstudio/ui/main.py"),
            str(ROOT / "pages/jobs.py"),
            str(RUNS),
        ]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return [1000 * float(part) for part in done.stdout.split()[-3:]]


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, median of {RUNS}")
    few, many = milliseconds(FEW), milliseconds(MANY)
    print(f"{'':<28}{f'{FEW} ended':>12}{f'{MANY:,} ended':>14}{'ratio':>8}")
    for name, less, more in zip(
        ("first run of the page", "later run of the page", "look of the indicator"), few, many, strict=True
    ):
        print(f"{name:<28}{less:>9.1f} ms{more:>11.1f} ms{more / less:>7.1f}x")


if __name__ == "__main__":
    main()
