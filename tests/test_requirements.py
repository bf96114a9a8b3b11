"""What is pinned is imported, what is imported is pinned, and nothing of it binds the studio to another licence.

pytest tests/test_requirements.py
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUDIO = [*(ROOT / "sdstudio").rglob("*.py"), ROOT / "app.py", *(ROOT / "pages").glob("*.py")]
TESTS = [*(ROOT / "tests").glob("*.py"), *(ROOT / "bench").rglob("*.py")]
TOOLS = {"pytest-timeout", "pytest-xdist", "ruff", "mypy"}
"""Pinned for their commands, or for what they add to pytest's."""
BY_HAND = {"bitsandbytes", "prodigyopt", "torchvision", "torch_fidelity", "cleanfid"}
"""Asked for where they are installed: a GPU's optimizers, what must not be there, and references with torchvision."""
EXTRAS = {"dev", "faces", "metrics", "ray", "slurm"}


def pins(*names: str) -> dict[str, str]:
    """The versions by distribution, in lower case, of these requirements files; every line is a pin."""
    found: dict[str, str] = {}
    for name in names:
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                pin = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", line)
                assert pin, f"{name}: {line!r} pins no version"
                found[pin[1].lower()] = pin[2]
    return found


def imported(files: Iterable[Path]) -> set[str]:
    """The top names of all modules of others that the files import, wherever in the file."""
    found: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    own = {"sdstudio", "plain", *(file.stem for file in TESTS)}
    return found - own - set(sys.stdlib_module_names)


def distributions_of(modules: set[str]) -> set[str]:
    """The distributions, in lower case, that the modules belong to; a module that is not installed is its own."""
    known = packages_distributions()
    return {name.lower() for module in modules for name in known.get(module, [module])}


def test_what_the_studio_imports_is_pinned_and_the_other_way_round() -> None:
    found = distributions_of(imported(STUDIO) - BY_HAND)
    core, extras = pins("requirements.txt"), pins("requirements-faces.txt", "requirements-ray.txt")
    assert core.keys() - found == set(), "pinned, but not imported"
    assert found - core.keys() - extras.keys() == set(), "imported, but not pinned"


def test_what_tests_and_benches_import_is_pinned_and_the_other_way_round() -> None:
    found, dev = distributions_of(imported(TESTS) - BY_HAND), pins("requirements-dev.txt").keys()
    others = pins("requirements.txt", "requirements-ray.txt").keys()
    assert found - dev - others == set(), "imported, but not pinned"
    assert dev - found - distributions_of(BY_HAND) - TOOLS == set(), "pinned, but not imported"


def test_every_extra_is_a_file_of_pins_at_one_version() -> None:
    dynamic = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["dynamic"]
    assert set(dynamic["optional-dependencies"]) == EXTRAS
    assert dynamic["dependencies"] == {"file": ["requirements.txt"]}
    versions = pins("requirements.txt")
    for name, place in dynamic["optional-dependencies"].items():
        assert place == {"file": [f"requirements-{name}.txt"]}
        for package, version in pins(*place["file"]).items():
            assert versions.setdefault(package, version) == version, f"{package} is pinned at two versions"


@pytest.mark.parametrize("licence", ["GPL", "GNU", "SSPL", "Commons Clause", "CC-BY-NC"])
def test_nothing_installed_binds_the_studio_to_another_licence(licence: str) -> None:
    """Apache-2.0 goes with MIT, BSD and with MPL-2.0 in files of its own; not with the GPL and its kin."""
    bound = []
    for distribution in distributions():
        about = distribution.metadata
        said = [about.get("License-Expression") or "", (about.get("License") or "").partition("\n")[0]]
        said += [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
        if any(licence in line for line in said):
            bound.append(about["Name"])
    assert not bound
