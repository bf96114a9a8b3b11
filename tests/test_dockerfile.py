"""What the Dockerfile promises, and its commands run without Docker: pytest tests/test_dockerfile.py"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def steps() -> list[tuple[str, str]]:
    """(instruction, what follows it), in order."""
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def command(instruction: str) -> list[str]:
    """The arguments of the one CMD or HEALTHCHECK; the programs are those of this environment."""
    [text] = [rest for name, rest in steps() if name == instruction]
    program, *arguments = json.loads(text[text.index("[") :])
    return [str(Path(sys.executable).with_name(program)), *arguments]


def test_the_base_is_pinned_and_the_studio_runs_as_nobody_special() -> None:
    names = [name for name, _ in steps()]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", dict(steps())["FROM"])
    assert ("USER", "studio") in steps() and names.index("USER") < names.index("CMD")
    assert not {"RUN", "COPY", "ADD"} & set(names[names.index("USER") :]), "nothing is changed as that user"


def test_what_it_copies_and_installs_is_there() -> None:
    copied = [rest.split()[0] for name, rest in steps() if name == "COPY"]
    assert copied and all((ROOT / place).exists() for place in copied)
    files = [file for name, rest in steps() if name == "RUN" for file in re.findall(r"-r (\S+)", rest)]
    assert files == ["requirements.txt"]


def test_all_that_is_kept_lies_in_the_volume() -> None:
    places = dict(pair.split("=", 1) for pair in dict(steps())["ENV"].split())
    assert places["SDSTUDIO_WORKSPACE"] == dict(steps())["VOLUME"]
    assert all(Path(place).is_relative_to(dict(steps())["VOLUME"]) for place in places.values())


def test_its_command_starts_a_studio_that_asks_for_a_token_and_is_healthy(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    health = [part.replace("8501", str(port)) for part in command("HEALTHCHECK")]
    environment = os.environ | {"SDSTUDIO_WORKSPACE": str(tmp_path / "workspace")}
    assert subprocess.run(health, capture_output=True).returncode, "nothing is healthy before the start"
    server = subprocess.Popen([*command("CMD"), "--port", str(port)], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(health, capture_output=True).returncode:
            assert server.poll() is None and time.monotonic() < deadline, "the studio did not come up"
            time.sleep(0.3)
        assert httpx2.get(f"http://127.0.0.1:{port}/").status_code == 401
    finally:
        server.terminate()
        server.wait(timeout=20)
