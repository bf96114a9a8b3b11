"""Who may reach the studio: host names it knows, pages of its own origin and, off this machine alone, a token's holder.

Streamlit checks the host of WebSocket connections only. The gate stands before everything that the server answers:
pages, pictures, media, uploads and the WebSocket.
"""

import hashlib
import hmac
import os
import secrets
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode, urlparse

from starlette.datastructures import URL
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from sdstudio.schema import UserError
from sdstudio.workspace import Workspace

TOKEN_VAR = "SDSTUDIO_ACCESS_TOKEN"
TOKEN_FILE = "access-token"
SHORTEST = 16
COOKIE = "sdstudio-access"
FIELD = "token"
SIGN_IN = "/access"
_MONTH = 30 * 24 * 3600
_LONGEST_FORM = 4096
_HARMLESS = {"GET", "HEAD", "OPTIONS"}


def access_token(workspace: Workspace, address: str | None) -> str:
    """The token that a visitor must show; empty while the server listens on this machine alone and none is set.

    SDSTUDIO_ACCESS_TOKEN, or else one made once and kept in the workspace, readable by its owner only.
    Raises UserError for a token that could be guessed.
    """
    given = os.environ.get(TOKEN_VAR, "").strip()
    if given and len(given) < SHORTEST:
        raise UserError(f"The token in {TOKEN_VAR} is too short: use {SHORTEST} characters or more.")
    if given or is_loopback(address):
        return given
    file = workspace.root / TOKEN_FILE
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as new:
            new.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    return file.read_text(encoding="utf-8").strip()


def is_loopback(address: str | None) -> bool:
    """True when only this machine reaches a server that listens on `address`; no address means every interface."""
    if address == "localhost":
        return True
    try:
        return ip_address(address or "0.0.0.0").is_loopback
    except ValueError:
        return False


class Gate:
    """ASGI middleware around the whole server; with an empty token it checks host and origin only."""

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self.app = app
        self.token = token
        self.pass_value = hashlib.sha256(f"{COOKIE} {token}".encode()).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = await self._refusal(scope, receive)
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        """What to answer instead of the studio; None lets the visitor in."""
        connection = HTTPConnection(scope)
        host, origin = connection.headers.get("host"), connection.headers.get("origin")
        if not is_host_allowed(host):
            return PlainTextResponse(
                "This host name is not served. Start the studio with `sdstudio run --host-name NAME`.", status_code=403
            )
        unsafe = scope["type"] == "websocket" or scope["method"] not in _HARMLESS
        if unsafe and origin is not None and urlparse(origin).netloc != host:
            return PlainTextResponse("Requests from other sites are refused.", status_code=403)
        if not self.token or _equal(connection.cookies.get(COOKIE, ""), self.pass_value):
            return None
        if scope["type"] == "websocket":
            return PlainTextResponse("", status_code=401)
        if scope["method"] == "POST" and connection.url.path == SIGN_IN:
            form = dict(parse_qsl((await _beginning(Request(scope, receive))).decode("utf-8", "replace")))
            return self._sign_in(form.get(FIELD, ""), URL("/"), scope)
        if scope["method"] == "GET" and FIELD in connection.query_params:
            rest = [pair for pair in connection.query_params.multi_items() if pair[0] != FIELD]
            target = URL(connection.url.path).replace(query=urlencode(rest))
            return self._sign_in(connection.query_params[FIELD], target, scope)
        return _door(401)

    def _sign_in(self, token: str, target: URL, scope: Scope) -> Response:
        if not _equal(token, self.token):
            return _door(401, "That is not this studio's token.")
        answer = RedirectResponse(target, status_code=303)
        answer.set_cookie(
            COOKIE, self.pass_value, max_age=_MONTH, httponly=True, samesite="strict", secure=scope["scheme"] == "https"
        )
        return answer


async def _beginning(request: Request) -> bytes:
    """The first bytes of what a stranger sends, and no more of it in memory than that."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) >= _LONGEST_FORM:
            break
    return body[:_LONGEST_FORM]


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _door(status: int, problem: str = "") -> Response:
    """The page that asks for the token; it says nothing of what is behind it."""
    return HTMLResponse(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>SD Studio</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; margin: 0 1rem }}
form {{ max-width: 24rem }} h1 {{ font-family: serif; font-weight: 600 }}
input, button {{ font: inherit; padding: .5rem .75rem; border-radius: .6rem; border: 1px solid #8888; width: 100%;
  box-sizing: border-box; margin-top: .5rem }} button {{ background: #B5502A; color: #fff; border: 0 }}
[role=alert] {{ color: #C4633A }}
</style></head><body><form method="post" action="{SIGN_IN}"><h1>SD Studio</h1>
<p>This studio is shared. Its access token was printed where it was started.</p>
<label>Access token<input type="password" name="{FIELD}" autocomplete="current-password" required autofocus></label>
<button>Open the studio</button><p role="alert">{problem}</p></form></body></html>""",
        status_code=status,
        headers={"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY"},
    )


def invitation(token: str, address: str | None, port: int) -> str:
    """The line for the terminal that says where to open the studio."""
    names = [name for name in config.get_option("server.allowedHosts") if name not in ("127.0.0.1", "localhost")]
    host = names[0] if names else "localhost" if not address or ip_address(address).is_unspecified else address
    return f"Open http://{host}:{port}/?{urlencode({FIELD: token})}"
