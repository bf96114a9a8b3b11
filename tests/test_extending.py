"""A newcomer adds a plug-in by the guide, one file, and everything takes it in.

pytest -m slow tests/test_extending.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILE = re.compile(r"`(sdstudio/\w+/\w+\.py)`:\n\n```python\n(.*?)```", re.DOTALL)
FILES = dict(FILE.findall(GUIDE))
FORM = """
from studio_pages import open_page
from tiny_models import make_dataset

from sdstudio.workspace import current_workspace

make_dataset(current_workspace())
app = open_page("train")
methods = app.button_group(key="train.method")
assert "Bias tuning" in methods.options, methods.options
app = methods.set_value("biases").run()
assert not app.exception, app.exception
assert app.number_input(key="train.biases.learning_rate").value == 1e-3
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the guide's files in it; the bundled weights are linked, not copied."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("sdstudio", "tests", "pages"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for weights in (ROOT / "sdstudio").rglob("*.safetensors"):
        (copy / weights.relative_to(ROOT)).symlink_to(weights)
    for name in ("app.py", "pyproject.toml", ".streamlit"):
        (copy / name).symlink_to(ROOT / name)
    for name, text in FILES.items():
        assert not (ROOT / name).exists(), "the guide adds what is not there yet"
        (copy / name).write_text(text, encoding="utf-8")
    return copy


def run(project: Path, *command: str) -> str:
    """What the command prints, run by the project's own code."""
    environment = os.environ | {
        "PYTHONPATH": f"{project}{os.pathsep}{project}/tests",
        "SDSTUDIO_WORKSPACE": str(project / "workspace"),
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


CONTRACTS = {
    "biases": (7, ["tests/test_methods.py", "tests/test_methods_train.py"]),
    "nearest_real": (3, ["tests/test_metrics_contract.py"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTRACTS)
def test_the_contract_tests_take_the_file_in(extended: Path, name: str) -> None:
    fewest, files = CONTRACTS[name]
    told = run(extended, "-m", "pytest", "-m", "slow or not slow", *files, "-k", name)
    passed = re.search(r"(\d+) passed", told)
    assert passed and int(passed[1]) >= fewest and "failed" not in told, told


@pytest.mark.slow
def test_the_command_line_and_the_form_take_a_method_in(extended: Path) -> None:
    flags = ("--dataset", "asim-style", "--method", "biases", "--learning-rate", "0.01")
    config = json.loads(run(extended, "-m", "sdstudio", "train", *flags, "--print-config"))
    assert config["method_options"]["learning_rate"] == 0.01
    run(extended, "-c", FORM)


@pytest.mark.slow
def test_the_scoreboard_takes_a_metric_in(extended: Path) -> None:
    flags = ("--model", "base", "--metrics", "nearest_real", "--seeds", "0")
    told = json.loads(run(extended, "-m", "sdstudio", "evaluate", *flags, "--json"))
    folder = extended / "workspace" / "evaluations" / told["id"]
    rows = [line.split(",") for line in (folder / "table.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert len(rows) == 2 and all(row[1] == "nearest_real" and float(row[2]) > 0 for row in rows), "base and floor"
    assert "Nearest real" in (folder / "report.html").read_text(encoding="utf-8")
