"""Server time of each page, cold and when switched to, in an empty workspace and in a full one.

    python bench/pages.py [--full FOLDER]

Cold is the first visit after the server's start, in a fresh process, Streamlit's own import left out; its bar is 2 s
on 2 cores. A switch comes from the home page once the page's modules are loaded; its bar is 400 ms. Both are processor
time, which a busy machine does not change; the ratio is to an empty Streamlit page. No page may have loaded torch.
FOLDER is a workspace that `bench/full_workspace.py` filled; without it one is filled, which takes a minute.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from full_workspace import fill

from sdstudio.workspace import ENV_VAR, Workspace

ROOT = Path(__file__).parents[1]
ROUNDS, SWITCHES = 3, 3
TABS = {
    "generate": ("Ask", "Grid", "Suites", "Gallery"),
    "evaluate": ("Compare", "Scoreboard", "Curves", "Pictures", "Captions", "Rating room", "Logo and text", "Shift"),
}
CODE = """
import json, statistics, sys, time
from streamlit.testing.v1 import AppTest
main, home, page, view, switches = sys.argv[1:]

def visit(target):
    if target:
        app.switch_page(target)
        if view and target == page:
            app.query_params["view"] = view
    start = time.process_time()
    app.run()
    assert app.title[0].value and not app.exception, app.exception
    return time.process_time() - start

app = AppTest.from_file(main, default_timeout=300)
cold = visit(page)
times = []
for _ in range(int(switches)):
    visit(home)
    times.append(visit(page))
print(json.dumps([cold, statistics.median(times), "torch" in sys.modules]))
"""


class Times(NamedTuple):
    """Seconds of processor time."""

    cold: float
    switch: float
    torch: bool


def measure(workspace: Path, script: Path, page: str = "", view: str = "") -> Times:
    """Medians over ROUNDS fresh processes; `page` is one of the studio's, none for a script without pages."""
    environment = os.environ | {ENV_VAR: str(workspace), "OMP_NUM_THREADS": "1"}
    home = str(ROOT / "pages/home.py") if page else ""
    command = [sys.executable, "-c", CODE, str(script), home, page, view, str(SWITCHES)]
    rounds = []
    for _ in range(ROUNDS):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        rounds.append(Times(*json.loads(done.stdout.splitlines()[-1])))
    return Times(
        statistics.median(times.cold for times in rounds),
        statistics.median(times.switch for times in rounds),
        any(times.torch for times in rounds),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", type=Path)
    given = parser.parse_args().full
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, median of {ROUNDS}")
    with tempfile.TemporaryDirectory() as folder:
        full = given or Path(folder) / "full"
        if not given:
            fill(Workspace(full))
        plain = Path(folder) / "plain.py"
        plain.write_text("import streamlit as st\nst.title('empty')\n")
        baseline = measure(full, plain)
        print(f"{'':<24}{'cold, empty':>13}{'full':>8}{'switch, empty':>16}{'full':>9}   of an empty page, full")
        for page in sorted((ROOT / "pages").glob("*.py")):
            for view in TABS.get(page.stem, ("",)):
                both = []
                for workspace in (Path(tempfile.mkdtemp(dir=folder)), full):
                    both.append(measure(workspace, ROOT / "sdstudio/ui/main.py", str(page), view))
                empty, filled = both
                print(
                    f"{page.stem + (f', {view}' if view else ''):<24}{empty.cold:11.2f} s{filled.cold:6.2f} s"
                    f"{empty.switch * 1e3:13.0f} ms{filled.switch * 1e3:6.0f} ms"
                    f"{filled.cold / baseline.cold:9.1f}x{filled.switch / baseline.switch:6.1f}x"
                    f"{'   TORCH' if empty.torch or filled.torch else ''}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
