"""What the queue costs with many jobs: listing them, one tick, one look at a job, a listing by the command line.

    python bench/jobs.py

Prints milliseconds with few and with many ended jobs, their ratio, and a tick with many that wait.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jobs_page import FEW, MANY, fill

from sdstudio import jobs
from sdstudio.jobs.folder import Identity, State, write_state
from sdstudio.workspace import Workspace, write_json

WAITING = 500
REPEATS = 9


def milliseconds(act: Callable[[], object], repeats: int = REPEATS) -> float:
    """The median time of `act`."""

    def once() -> float:
        began = time.perf_counter()
        act()
        return 1000 * (time.perf_counter() - began)

    return statistics.median(once() for _ in range(repeats))


def measure(ws: Workspace) -> dict[str, float]:
    command = [sys.executable, "-m", "sdstudio", "jobs", "list", "--json", "--workspace", str(ws.root)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    code = "import sys; from sdstudio import cli; cli.install_starter = lambda ws: None; sys.exit(cli.main())"
    command = [sys.executable, "-c", code, *command[3:]]

    def by_command() -> None:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    first = milliseconds(lambda: jobs.list_jobs(ws), repeats=1)
    newest = jobs.list_jobs(ws)[0].id
    return {
        "list, first time": first,
        "list, later": milliseconds(lambda: jobs.list_jobs(ws)),
        "tick": milliseconds(lambda: jobs.tick(ws)),
        "one job": milliseconds(lambda: jobs.get_job(ws, newest)),
        "sdstudio jobs list": milliseconds(by_command, repeats=3),
    }


def queue_up(ws: Workspace, number: int) -> None:
    """One job that runs, as this process, and `number` behind it."""
    for index in range(number + 1):
        folder = ws.tasks / f"20260201-000000-waiting-{index:05d}"
        folder.mkdir(parents=True)
        write_json(folder / "config.json", {})
        running = {"state": "running", "device": "cpu", "worker": Identity.of(os.getpid())} if index == 0 else {}
        write_state(folder, State(kind="caption", title=str(index), created=float(index), **running))


def main() -> None:
    os.environ["SDSTUDIO_DEVICES"] = "cpu"
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as temporary:
        found = []
        for number in (FEW, MANY):
            ws = Workspace(Path(temporary) / str(number))
            ws.root.mkdir()
            fill(ws, number)
            time.sleep(4)  # a state file that was just written is read anew each time
            found.append(measure(ws))
        few, many = found
        print(f"{'':20}{FEW:>8} jobs{MANY:>8} jobs   ratio")
        for name, time_of_many in many.items():
            print(f"{name:20}{few[name]:>10.1f} ms{time_of_many:>10.1f} ms{time_of_many / few[name]:>8.1f}")
        ws = Workspace(Path(temporary) / "waiting")
        ws.root.mkdir()
        queue_up(ws, WAITING)
        jobs.list_jobs(ws)
        time.sleep(4)
        jobs.tick(ws)
        print(f"tick with {WAITING} jobs waiting: {milliseconds(lambda: jobs.tick(ws)):.1f} ms")


if __name__ == "__main__":
    main()
