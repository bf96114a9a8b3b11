"""Who is let in, at a real server that listens on every interface: pytest tests/test_access.py"""

import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from conftest import ROOT
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sdstudio.schema import UserError
from sdstudio.ui.access import COOKIE, TOKEN_FILE, TOKEN_VAR, access_token, is_loopback
from sdstudio.workspace import Workspace

SECRET = "a token of twenty-eight chars"
ROUTES = [
    "/",
    "/train",
    "/_stcore/health",
    "/_stcore/host-config",
    "/media/nothing.png",
    "/component/nothing/index.html",
    "/static/index.html",
    f"/files/thumbs/asim-style/{'0' * 64}",
    "/files/runs/job/a.png",
    "/no/such/place",
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("shared")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
    environment = {**os.environ, "SDSTUDIO_WORKSPACE": str(folder / "studio"), TOKEN_VAR: SECRET}
    command = [sys.executable, "-c", "from sdstudio.cli import main; raise SystemExit(main())", "run"]
    command += ["--port", str(free), "--address", "0.0.0.0", "--host-name", "studio.lab"]
    log = folder / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        wait_for_an_answer(free, server, log)
        yield free
    finally:
        server.terminate()
        server.wait(timeout=20)


def wait_for_an_answer(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
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


@pytest.mark.parametrize("route", ROUTES)
def test_nothing_is_answered_without_the_token(visitor: httpx2.Client, route: str) -> None:
    answer = visitor.get(route)
    assert answer.status_code == 401
    assert "Access token" in answer.text
    assert "set-cookie" not in answer.headers


def test_nothing_can_be_sent_without_the_token(visitor: httpx2.Client) -> None:
    assert visitor.put("/_stcore/upload_file/session/file", content=b"x").status_code == 401
    assert visitor.post("/files/tokens/asim-style", content=b"x").status_code == 401
    assert visitor.delete("/_stcore/upload_file/session/file").status_code == 401


def test_the_websocket_needs_the_token_and_the_own_origin(port: int, visitor: httpx2.Client) -> None:
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
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
