"""The rules of the house, read from the code itself.   pytest tests/test_architecture.py"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sdstudio"
HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "torchmetrics", "datasets"}
HEAVY_ROOMS = {"engine", "families", "features", "sampling", "starter"}

# A room may import the rooms named here (itself always). What is not named is a mistake of design.
MAY_IMPORT = {
    "validation": set(),
    "schema": {"validation"},
    "registry": {"validation"},
    "words": set(),
    "workspace": {"schema", "words"},
    "models": {"schema", "workspace"},
    "options": {"schema"},
    "training.plan": {"schema"},
    "training.machine": {"schema"},
    "training.captions": {"schema", "methods.parts"},
    "hub": {"schema", "workspace"},
    "datasets": {
        "schema", "workspace", "registry", "jobs.context", "captioners", "hub", "words", "pictures.image_folder",
    },
    "captioners": {"schema", "models", "hub", "words"},
    "methods": {"schema", "models"},
    "families": {"schema", "models", "sampling", "words"},
    "prompts": {"schema"},
    "sampling": {"schema", "prompts"},
    "guidance": {"schema", "prompts", "sampling"},
    "pictures": {"schema", "workspace", "datasets.intake"},
    "grids": {"schema", "workspace", "options", "models", "pictures"},
    "suites": {"schema", "workspace", "words"},
    "collection": {"schema", "workspace", "pictures", "datasets"},
    "features": {"schema", "workspace", "models", "registry"},
    "metrics": {"schema", "workspace", "features", "words", "ratings"},
    "detectors": {"schema", "workspace", "hub", "words", "starter.logo"},
    "readers": {"schema", "detectors"},
    "ratings": {"schema", "workspace", "words", "metrics", "results"},
    "engine": {
        "schema", "workspace", "registry", "models", "jobs.context", "datasets", "methods", "families", "guidance",
        "training.plan", "training.machine", "training.captions", "words", "prompts", "sampling", "pictures", "grids",
        "collection.marks",
    },
    "interactive": {"schema", "workspace", "jobs", "engine", "sampling", "words", "pictures"},
    "bulk": {
        "schema", "workspace", "words", "jobs.context", "datasets", "engine", "pictures", "evaluation", "features",
        "results",
    },
    # Before a job is queued, the part that owns its config is asked whether it can be done.
    "training.readiness": {
        "schema", "workspace", "registry", "models", "datasets", "methods", "prompts", "words", "training.captions",
    },
    "jobs": {
        "schema", "workspace", "registry", "models", "datasets", "evaluation", "training.readiness", "training.plan",
        "training.machine", "sharing.exporting", "sharing.publishing", "prompts", "words", "pictures", "grids",
    },
}  # fmt: skip


def sources(room: str) -> list[Path]:
    place = PACKAGE.joinpath(*room.split("."))
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def imports(path: Path, *, module_level: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if module_level else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    for path in sources(room):
        for name in imports(path, module_level=False):
            if not name.startswith("sdstudio."):
                continue
            inner = name.removeprefix("sdstudio.")
            assert any(inner == other or inner.startswith(f"{other}.") for other in allowed), (
                f"{path.relative_to(ROOT)} imports {name}"
            )


def test_heavy_libraries_stay_in_their_rooms() -> None:
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        if room in HEAVY_ROOMS:
            continue
        loaded = {name.split(".")[0] for name in imports(path, module_level=True)}
        assert not loaded & HEAVY, f"{path.relative_to(ROOT)} loads {loaded & HEAVY} when it is imported"


def test_streamlit_stays_in_the_pages() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] == "ui":
            continue
        loaded = {name.split(".")[0] for name in imports(path, module_level=False)}
        assert "streamlit" not in loaded, f"{path.relative_to(ROOT)} imports streamlit"


def test_no_pickle_and_no_remote_code() -> None:
    for path in [*PACKAGE.rglob("*.py"), ROOT / "app.py", *(ROOT / "pages").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "torch.load(", "trust_remote_code=True", "custom_pipeline="):
            assert word not in text, f"{path.relative_to(ROOT)} contains {word!r}"


POSIX_ONLY = {
    "fork", "forkpty", "getegid", "geteuid", "getgid", "getpgid", "getpgrp", "getuid", "killpg", "mkfifo", "nice",
    "pread", "pwrite", "sched_getaffinity", "sched_setaffinity", "setpgid", "setsid", "statvfs", "uname", "wait",
}  # fmt: skip
GUARDS = ("os.name", "sys.platform", 'hasattr(os, "')


def test_calls_that_windows_lacks_are_guarded() -> None:
    for path in [*PACKAGE.rglob("*.py"), ROOT / "app.py", *(ROOT / "pages").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if any(guard in text for guard in GUARDS):
            continue
        for node in ast.walk(ast.parse(text)):
            called = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
            assert not (called and node.attr in POSIX_ONLY), f"{path.relative_to(ROOT)} uses os.{node.attr}"
        loaded = imports(path, module_level=True)
        assert not loaded & {"fcntl", "pwd", "grp", "resource", "termios"}, f"{path.relative_to(ROOT)} imports {loaded}"


def test_listing_every_plug_in_loads_no_torch() -> None:
    code = (
        "import sys; from sdstudio import registry\n"
        "for room in ('captioners', 'methods', 'metrics', 'detectors', 'readers'):\n"
        "    assert registry.load(f'sdstudio.{room}'), room\n"
        "import sdstudio.jobs, sdstudio.models, sdstudio.datasets, sdstudio.cli, sdstudio.starter.examples\n"
        "print([name for name in ('torch', 'diffusers', 'transformers', 'peft', 'streamlit') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_files_stay_small() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "pages").glob("*.py")]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 450, f"{path.relative_to(ROOT)} has {lines} lines"
