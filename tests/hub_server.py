"""A Hugging Face Hub on this machine, as far as the installed `huggingface_hub` and `datasets` talk to one.

with HubServer() as hub:
    hub.add_user("ann", token="hf_…")
    ...                         # in a process with HF_ENDPOINT=hub.url

It keeps repositories in memory, takes large files through xet, as the client sends them by default, and through the LFS
protocol (with HF_HUB_DISABLE_XET=1; one part, or many above `part_size`), and can break connections on purpose.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from xet_store import XetStore

ATTRIBUTES = b"*.parquet filter=lfs\n*.png filter=lfs\n*.jpg filter=lfs\n*.webp filter=lfs\n"


class Refused(Exception):
    """Ends a request with this status, in the headers that the client reads."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class Repository:
    """`files` are the whole of it at the newest commit; `commits` their titles."""

    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": ATTRIBUTES})
    commits: list[str] = field(default_factory=lambda: ["initial commit"])

    @property
    def sha(self) -> str:
        return hashlib.sha1("\n".join(self.commits).encode()).hexdigest()


@dataclass
class User:
    name: str
    role: str
    organizations: tuple[str, ...]


class HubServer(ThreadingHTTPServer):
    """`repositories` by id; `stored` the large files by sha256; `log` the (method, path) of every request.

    `fault(method, path)` may return True to break the connection before the request is answered, or raise a Refused.
    """

    daemon_threads = True

    def __init__(self, part_size: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.part_size = part_size
        self.users: dict[str, User] = {}
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.xet = XetStore()
        self.parts: dict[tuple[str, int], bytes] = {}
        self.log: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], bool] = lambda method, path: False
        self.lock = threading.Lock()

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""

    def add_user(self, name: str, token: str, role: str = "write", organizations: tuple[str, ...] = ()) -> None:
        self.users[token] = User(name, role, organizations)

    def count(self, method: str, pattern: str) -> int:
        return sum(method == sent and bool(re.search(pattern, path)) for sent, path in self.log)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the screen."""

    def do_GET(self) -> None:
        self.respond("GET")

    def do_HEAD(self) -> None:
        self.respond("HEAD")

    def do_POST(self) -> None:
        self.respond("POST")

    def do_PUT(self) -> None:
        self.respond("PUT")

    def respond(self, method: str) -> None:
        split = urlsplit(self.path)
        path, self.query = unquote(split.path), parse_qs(split.query)
        self.server.log.append((method, path))
        self.method, self.body_bytes = method, self.read_body()
        try:
            if self.server.fault(method, path):
                self.close_connection = True
                self.connection.close()
                return
            with self.server.lock:
                self.route(path)
        except Refused as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self.send_json({"error": refused.message or refused.code}, refused.status, headers)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    @property
    def body(self) -> Any:
        return json.loads(self.body_bytes)

    def send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.method != "HEAD":
            self.wfile.write(data)

    def send_json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    # ------------------------------------------------------------ who may what

    def user(self) -> User | None:
        header = self.headers.get("Authorization", "")
        if not header:
            return None
        user = self.server.users.get(header.removeprefix("Bearer "))
        if user is None:
            raise Refused(401, message="Invalid credentials in Authorization header")
        return user

    def may(self, repository_id: str) -> bool:
        user = self.user()
        return bool(user) and repository_id.split("/")[0] in (user.name, *user.organizations)

    def repository(self, repository_id: str, write: bool = False) -> Repository:
        found = self.server.repositories.get(repository_id)
        allowed = self.may(repository_id)
        if found is None or (found.private and not allowed):
            raise Refused(404 if self.user() else 401, "RepoNotFound", "Repository not found")
        user = self.user()
        if write and not (allowed and user and user.role == "write"):
            raise Refused(403, message="You don't have write access to this repository")
        return found

    # ------------------------------------------------------------ routes

    def route(self, path: str) -> None:
        for pattern, handle in ROUTES:
            match = re.fullmatch(pattern, path)
            if match:
                handle(self, *match.groups())
                return
        raise Refused(404, "EntryNotFound", f"no route {path}")

    def home(self) -> None:
        self.send(b"")

    def whoami(self) -> None:
        user = self.user()
        if user is None:
            raise Refused(401, message="Invalid credentials in Authorization header")
        organizations = [{"name": name} for name in user.organizations]
        token = {"accessToken": {"role": user.role, "displayName": "test"}}
        self.send_json({"type": "user", "name": user.name, "orgs": organizations, "auth": token})

    def validate_yaml(self) -> None:
        import yaml

        front = re.match(r"---\n(.*?)\n---\n", self.body["content"], re.DOTALL)
        data = yaml.safe_load(front[1]) if front else None
        if not isinstance(data, dict) or not isinstance(data.get("license", ""), str):
            self.send_json({"errors": [{"message": "bad front matter"}], "warnings": []}, 400)
        else:
            self.send_json({"errors": [], "warnings": []})

    def create(self) -> None:
        user = self.user()
        owner = self.body.get("organization") or (user.name if user else "")
        repository_id = f"{owner}/{self.body['name']}"
        if user is None or user.role != "write" or not self.may(repository_id):
            raise Refused(403, message=f"You don't have the rights to create a dataset under the namespace {owner!r}")
        kind = self.body.get("type") or "model"
        url = f"{self.server.url}/{'' if kind == 'model' else f'{kind}s/'}{repository_id}"
        if repository_id in self.server.repositories:
            self.send_json({"error": f"You already created this {kind} repo", "url": url}, 409)
            return
        visibility = self.body.get("visibility")
        private = visibility == "private" if visibility else bool(self.body.get("private"))
        self.server.repositories[repository_id] = Repository(private)
        self.send_json({"url": url, "name": repository_id})

    def info(self, repository_id: str, revision: str | None = None) -> None:
        repository = self.repository(repository_id)
        siblings = [{"rfilename": path} for path in sorted(repository.files)]
        facts = {"id": repository_id, "private": repository.private, "sha": repository.sha, "siblings": siblings}
        self.send_json({**facts, "tags": [], "downloads": 0, "likes": 0, "disabled": False, "gated": False})

    def tree(self, repository_id: str, revision: str, under: str | None) -> None:
        repository = self.repository(repository_id)
        prefix = f"{under.strip('/')}/" if under else ""
        recursive = self.query.get("recursive", [""])[0].lower() in ("true", "1")
        inside = [path for path in sorted(repository.files) if path.startswith(prefix)]
        if prefix and not inside:
            raise Refused(404, "EntryNotFound", "Entry not found")
        folders = {
            prefix + "/".join(parts[: depth + 1])
            for parts in (path.removeprefix(prefix).split("/")[:-1] for path in inside)
            for depth in range(len(parts))
        }
        entries = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)]
        entries += [self.entry(path, repository.files[path]) for path in inside]
        if not recursive:
            entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(prefix)]
        self.send_json(entries)

    def paths_info(self, repository_id: str, revision: str) -> None:
        repository = self.repository(repository_id)
        fields = parse_qs(self.body_bytes.decode()) if not self.body_bytes.startswith(b"{") else self.body
        wanted = [path.strip("/") for path in fields.get("paths", [])]
        found = [self.entry(path, repository.files[path]) for path in wanted if path in repository.files]
        for path in wanted:
            if any(name.startswith(f"{path}/") for name in repository.files):
                found.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        self.send_json(found)

    def entry(self, path: str, data: bytes) -> dict[str, Any]:
        facts: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": git_hash(data)}
        if is_large(path):
            facts["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return facts

    def preupload(self, repository_id: str, revision: str) -> None:
        repository = self.repository(repository_id, write=True)
        answer = []
        for file in self.body["files"]:
            data = repository.files.get(file["path"])
            large = is_large(file["path"])
            oid = None if data is None else hashlib.sha256(data).hexdigest() if large else git_hash(data)
            mode = "lfs" if large else "regular"
            answer.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.send_json({"files": answer})

    def batch(self, repository_id: str) -> None:
        self.repository(repository_id, write=True)
        objects = []
        for item in self.body["objects"]:
            oid, size = item["oid"], item["size"]
            actions = {}
            if oid not in self.server.stored:
                actions = {"upload": self.upload_action(oid, size), "verify": {"href": f"{self.server.url}/lfs/verify"}}
            objects.append({"oid": oid, "size": size, **({"actions": actions} if actions else {})})
        self.send_json({"transfer": "basic", "objects": objects})

    def upload_action(self, oid: str, size: int) -> dict[str, Any]:
        part = self.server.part_size
        if not part or size <= part:
            return {"href": f"{self.server.url}/lfs/{oid}"}
        urls = {str(number): f"{self.server.url}/lfs/{oid}/part/{number}" for number in range(1, -(-size // part) + 1)}
        return {"href": f"{self.server.url}/lfs/{oid}/complete", "header": {"chunk_size": str(part), **urls}}

    def put(self, oid: str) -> None:
        self.keep(oid, self.body_bytes)
        self.send(b"")

    def put_part(self, oid: str, number: str) -> None:
        self.server.parts[oid, int(number)] = self.body_bytes
        self.send(b"", headers={"ETag": hashlib.md5(self.body_bytes).hexdigest()})

    def complete(self, oid: str) -> None:
        numbers = [part["partNumber"] for part in self.body["parts"]]
        for part in self.body["parts"]:
            assert part["etag"] == hashlib.md5(self.server.parts[oid, part["partNumber"]]).hexdigest()
        self.keep(oid, b"".join(self.server.parts[oid, number] for number in sorted(numbers)))
        self.send_json({})

    def keep(self, oid: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refused(400, message="The content is not what its hash says")
        self.server.stored[oid] = data

    def verify(self) -> None:
        if len(self.server.stored.get(self.body["oid"], b"")) != self.body["size"]:
            raise Refused(400, message="The object is not there")
        self.send_json({})

    # ------------------------------------------------------------ xet

    def xet_token(self, repository_id: str, revision: str) -> None:
        self.repository(repository_id, write=True)
        until = int(time.time()) + 3600
        url = f"{self.server.url}/xet"
        headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": XET_TOKEN, "X-Xet-Token-Expiration": str(until)}
        self.send_json({"casUrl": url, "accessToken": XET_TOKEN, "exp": until}, headers=headers)

    def check_xet_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {XET_TOKEN}":
            raise Refused(401)

    def put_xorb(self, hash: str) -> None:
        self.check_xet_token()
        self.server.xet.put_xorb(hash, self.body_bytes)
        self.send_json({"was_inserted": True})

    def put_shard(self) -> None:
        self.check_xet_token()
        self.server.stored.update(self.server.xet.put_shard(self.body_bytes))
        self.send_json({"result": 1})

    # ------------------------------------------------------------ commits and files

    def commit(self, repository_id: str, revision: str) -> None:
        repository = self.repository(repository_id, write=True)
        files = dict(repository.files)
        title = ""
        for line in self.body_bytes.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                title = value["summary"]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.server.stored:
                    raise Refused(400, message=f"{value['path']} was never uploaded")
                files[value["path"]] = self.server.stored[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise Refused(400, message=f"unknown operation {item['key']}")
        repository.files = files
        repository.commits.append(title)
        url = f"{self.server.url}/datasets/{repository_id}/commit/{repository.sha}"
        self.send_json({"success": True, "commitUrl": url, "commitOid": repository.sha, "pullRequestUrl": None})

    def resolve(self, repository_id: str, revision: str, path: str) -> None:
        repository = self.repository(repository_id)
        headers = {"X-Repo-Commit": repository.sha, "Accept-Ranges": "bytes"}
        if path not in repository.files:
            raise Refused(404, "EntryNotFound", "Entry not found")
        data = repository.files[path]
        headers["ETag"] = f'"{hashlib.sha256(data).hexdigest() if is_large(path) else git_hash(data)}"'
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.send(data, headers=headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.send(data[first : last + 1], 206, headers)


XET_TOKEN = "for the store of large files only"
REPOSITORY = r"([\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, Callable[..., None]]] = [
    (r"/?", Handler.home),
    (r"/api/whoami-v2", Handler.whoami),
    (r"/api/validate-yaml", Handler.validate_yaml),
    (r"/api/repos/create", Handler.create),
    (rf"/api/(?:datasets|models)/{REPOSITORY}(?:/revision/([^/]+))?", Handler.info),
    (rf"/api/(?:datasets|models)/{REPOSITORY}/tree/([^/]+)(/.*)?", Handler.tree),
    (rf"/api/(?:datasets|models)/{REPOSITORY}/paths-info/([^/]+)", Handler.paths_info),
    (rf"/api/(?:datasets|models)/{REPOSITORY}/preupload/([^/]+)", Handler.preupload),
    (rf"/api/(?:datasets|models)/{REPOSITORY}/commit/([^/]+)", Handler.commit),
    (rf"/(?:datasets/)?{REPOSITORY}\.git/info/lfs/objects/batch", Handler.batch),
    (rf"/api/(?:datasets|models)/{REPOSITORY}/xet-write-token/([^/]+)", Handler.xet_token),
    (r"/xet/v1/xorbs/default/([0-9a-f]{64})", Handler.put_xorb),
    (r"/xet/v1/shards", Handler.put_shard),
    (r"/lfs/verify", Handler.verify),
    (r"/lfs/([0-9a-f]{64})", Handler.put),
    (r"/lfs/([0-9a-f]{64})/part/(\d+)", Handler.put_part),
    (r"/lfs/([0-9a-f]{64})/complete", Handler.complete),
    (rf"/(?:datasets/)?{REPOSITORY}/resolve/([^/]+)/(.+)", Handler.resolve),
]


def is_large(path: str) -> bool:
    return path.endswith((".parquet", ".png", ".jpg", ".webp", ".safetensors"))


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
