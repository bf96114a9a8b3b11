"""Cold server time of each page beside that of an empty Streamlit page, each in a fresh process.

    python bench/pages.py

Prints seconds and the ratio. The bar for the home page is 2 s on 2 cores.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 3
CODE = """
import sys, time
start = time.perf_counter()
from streamlit.testing.v1 import AppTest
loaded = time.perf_counter()
app = AppTest.from_file(sys.argv[1], default_timeout=120)
if sys.argv[2:]:
    app.switch_page(sys.argv[2])
app.run()
assert app.title[0].value and not app.exception, app.exception
print(time.perf_counter() - loaded)
"""


def seconds(*arguments: str) -> float:
    """Median over ROUNDS fresh processes and workspaces of one first visit, Streamlit's own import left out."""
    times = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as workspace:
            environment = os.environ | {"SDSTUDIO_WORKSPACE": workspace}
            command = [sys.executable, "-c", CODE, *arguments]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
            times.append(float(done.stdout.split()[-1]))
    return statistics.median(times)


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, median of {ROUNDS}")
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text("import streamlit as st\nst.title('empty')\n")
        baseline = seconds(str(empty))
    print(f"{'an empty page':<16} {baseline:6.2f} s   1.0x")
    for page in sorted((ROOT / "pages").glob("*.py")):
        taken = seconds(str(ROOT / "sdstudio/ui/main.py"), str(page))
        print(f"{page.stem:<16} {taken:6.2f} s  {taken / baseline:4.1f}x")


if __name__ == "__main__":
    main()
