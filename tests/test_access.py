"""Who is let in, at a real server that listens on every interface: pytest tests/test_access.py"""

import json
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from conftest import ROOT
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sdstudio.schema import UserError
from sdstudio.ui.access import COOKIE, TOKEN_FILE, TOKEN_VAR, access_token, is_loopback
from sdstudio.workspace import Workspace

SECRET = "a token of twenty-eight chars"
STUDIO = [sys.executable, "-c", "from sdstudio.cli import main; raise SystemExit(main())", "run"]
WIDE = ["--address", "0.0.0.0", "--host-name", "studio.lab"]
LISTING = """
import json, runpy
for route in runpy.run_path("app.py")["app"]._build_starlette_app().routes:
    print(json.dumps([type(route).__name__, route.path, sorted(getattr(route, "methods", None) or ["GET"])]))
"""
Route = tuple[str, str, list[str]]
"""Kind, address, methods."""
UNROUTED: list[Route] = [
    ("Page", "/", ["GET", "HEAD"]),
    ("Page", "/train", ["GET"]),
    ("Page", "/no/such/place", ["GET", "PATCH"]),
]


@contextmanager
def started(folder: Path, *options: str, **more: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A studio on a free port, started as `sdstudio run` does with these options and environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != TOKEN_VAR}
    environment |= {"SDSTUDIO_WORKSPACE": str(folder / "studio"), **more}
    log = folder / "server.log"
    with log.open("wb") as output:
        command = [*STUDIO, "--port", str(port), *options]
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait_for_an_answer(port, server, log)
        yield port, server
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with started(tmp_path_factory.mktemp("shared"), *WIDE, **{TOKEN_VAR: SECRET}) as (port, _):
        yield port


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A studio as it is by default: for this machine, without a token."""
    with started(tmp_path_factory.mktemp("alone")) as studio:
        yield studio


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[Route]:
    """Everything that the server has an answer for, from the server's own list."""
    workspace = str(tmp_path_factory.mktemp("listed"))
    listed = subprocess.run(
        [sys.executable, "-c", LISTING],
        cwd=ROOT,
        env=os.environ | {"SDSTUDIO_WORKSPACE": workspace},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in listed.stdout.splitlines() if line.startswith("[")]
    return UNROUTED + [(kind, re.sub(r"\{[^}]*\}", "0", path) or "/", methods) for kind, path, methods in found]


def asked(port: int, routes: list[Route], skip: tuple[str, ...] = (), **headers: str) -> dict[str, int]:
    """The status with which each route answers each of its methods but those in `skip`."""
    answers = {}
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        for kind, path, methods in routes:
            for method in () if kind == "WebSocketRoute" else sorted(set(methods) - set(skip)):
                answers[f"{method} {path}"] = client.request(method, path, content=b"x").status_code
    return answers


def wait_for_an_answer(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/")
            return
        except httpx2.TransportError:
            time.sleep(0.2)
    pytest.fail(f"The studio did not answer:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture
def visitor(port: int) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


def test_nothing_is_answered_without_the_token(port: int, routes: list[Route]) -> None:
    answers = asked(port, routes)
    everything = " ".join(answers)
    for part in ("PUT /_stcore/upload_file/", "GET /media/", "GET /files/thumbs/", "POST /files/tokens/", "/agent/mcp"):
        assert part in everything, "the list of routes is not the server's"
    assert set(answers.values()) == {401}, {what: status for what, status in answers.items() if status != 401}


def test_who_is_not_let_in_is_asked_for_the_token_and_told_nothing(visitor: httpx2.Client) -> None:
    answer = visitor.get("/train")
    assert answer.status_code == 401 and "Access token" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_stranger_s_endless_form_is_not_read_to_its_end(port: int) -> None:
    head = f"POST /access HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {10**12}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode() + b"token=" + b"x" * 8192)
        assert connection.recv(64).startswith(b"HTTP/1.1 401 ")


def test_by_default_this_machine_alone_is_answered(
    alone: tuple[int, subprocess.Popen[bytes]], routes: list[Route]
) -> None:
    port, server = alone
    listening = {c.laddr.ip for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert httpx2.get(f"http://127.0.0.1:{port}/").status_code == 200
    assert set(asked(port, routes, Host=f"elsewhere.example:{port}").values()) == {403}
    foreign = asked(port, routes, ("GET", "HEAD", "OPTIONS"), Origin="http://elsewhere.example")
    assert foreign and set(foreign.values()) == {403}
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}/_stcore/stream", origin="http://elsewhere.example")


def test_the_websocket_needs_the_token_and_the_own_origin(
    port: int, visitor: httpx2.Client, routes: list[Route]
) -> None:
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    assert [path for kind, path, _ in routes if kind == "WebSocketRoute"] == ["/_stcore/stream"]
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, subprotocols=["streamlit"])
    visitor.get("/", params={"token": SECRET})
    cookie = {"Cookie": f"{COOKIE}={visitor.cookies[COOKIE]}"}
    with connect(address, additional_headers=cookie, subprotocols=["streamlit"], origin=f"http://127.0.0.1:{port}"):
        pass
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, additional_headers=cookie, subprotocols=["streamlit"], origin="http://elsewhere.example")
    foreign = f"elsewhere.example:{port}"
    with socket.create_connection(("127.0.0.1", port)) as sock, pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{foreign}/_stcore/stream", sock=sock, additional_headers=cookie, origin=f"http://{foreign}")


def test_the_link_lets_in_and_takes_the_token_out_of_the_address(visitor: httpx2.Client) -> None:
    answer = visitor.get("/train", params={"token": SECRET, "run": "a b"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/train?run=a+b")
    cookie = answer.headers["set-cookie"]
    assert SECRET not in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict"))
    assert visitor.get("/train").status_code == 200


def test_the_form_lets_in_with_the_right_token_only(visitor: httpx2.Client) -> None:
    wrong = visitor.post("/access", data={"token": "guess"})
    assert wrong.status_code == 401 and "not this studio's token" in wrong.text
    right = visitor.post("/access", data={"token": SECRET})
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert visitor.get("/").status_code == 200


def test_a_forged_cookie_does_not_let_in(visitor: httpx2.Client) -> None:
    assert visitor.get("/", headers={"Cookie": f"{COOKIE}={SECRET}"}).status_code == 401


def test_a_foreign_host_name_is_refused_even_with_the_token(visitor: httpx2.Client) -> None:
    visitor.get("/", params={"token": SECRET})
    assert visitor.get("/", headers={"Host": "elsewhere.example"}).status_code == 403
    assert visitor.get("/", headers={"Host": "studio.lab"}).status_code == 200


def test_a_request_from_another_site_is_refused(visitor: httpx2.Client) -> None:
    visitor.get("/", params={"token": SECRET})
    answer = visitor.post("/files/tokens/asim-style", content=b"x", headers={"Origin": "http://elsewhere.example"})
    assert answer.status_code == 403


def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VAR, raising=False)
    workspace = Workspace(tmp_path)
    assert access_token(workspace, "127.0.0.1") == ""
    token = access_token(workspace, "0.0.0.0")
    assert len(token) >= 32 and access_token(workspace, "0.0.0.0") == token
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600


def test_a_short_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VAR, "1234")
    with pytest.raises(UserError, match="too short"):
        access_token(Workspace(tmp_path), "0.0.0.0")


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), (None, False), ("studio.lab", False)],
)
def test_which_addresses_only_this_machine_reaches(address: str | None, expected: bool) -> None:
    assert is_loopback(address) is expected
