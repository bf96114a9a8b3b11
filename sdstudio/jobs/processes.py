"""How a job's supervisor and worker are started, and how secrets reach them without being written down."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

import sdstudio
from sdstudio.jobs.folder import LOG_FILE, workspace_of

SECRETS = "--secrets"
"""The argument that tells a process to read secrets from its standard input; it does not hold them."""


def module_command(module: str, folder: Path, *arguments: str, python: str = sys.executable) -> list[str]:
    """The command that does something with the job in `folder`, the same on this machine and on a cluster."""
    return [python, "-m", module, str(folder.resolve()), *arguments]


def launch(
    command: Sequence[str], folder: Path, secrets: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> psutil.Popen:
    """Start a `module_command` in a session of its own, its output going to the job's log.

    The secrets go into its standard input, from which `receive_secrets` takes them.
    """
    with (folder / LOG_FILE).open("ab") as log:
        process = psutil.Popen(
            [*command, *([SECRETS] if secrets else [])],
            stdin=subprocess.PIPE if secrets else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=workspace_of(folder).root,
            env={**python_environment(), **(environment or {})},
            start_new_session=True,
        )
    if secrets:
        with suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(json.dumps(dict(secrets)).encode())
    return process


def receive_secrets() -> dict[str, str]:
    """The secrets that this process was started with."""
    if SECRETS not in sys.argv:
        return {}
    secrets: dict[str, str] = json.load(sys.stdin)
    return secrets


def python_environment() -> dict[str, str]:
    """This process's environment, in which `python -m sdstudio…` finds the same package from any directory."""
    paths = [str(Path(sdstudio.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
