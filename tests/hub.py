"""A model hub on loopback: the routes of huggingface.co that a pull and the library's own download use, and a store for the
bytes beside it.

As there, /resolve/ answers with a redirect to another origin whose address is signed. It is strict: what the real hub
would not answer is refused and kept in `strange`.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "5eb1cb08" * 5
SIGNATURE = "Signature=abc"
PIECE = 64 * 1024


@dataclass
class Repo:
    """A repository. `digests` and `sizes` are what the hub says instead of the truth."""

    files: dict[str, bytes]
    licence: str = "apache-2.0"
    token: str = ""
    """Who does not show it is told that there is no such repository."""
    gated: bool = False
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def listing(self, name: str) -> dict[str, Any]:
        """What /api/models answers, with ?blobs=true."""
        return {
            "id": name,
            "sha": COMMIT,
            "private": bool(self.token),
            "gated": "manual" if self.gated else False,
            "cardData": {"license": self.licence},
            "tags": ["gguf", f"license:{self.licence}"],
            "siblings": [self._sibling(path, content) for path, content in self.files.items()],
        }

    def _sibling(self, path: str, content: bytes) -> dict[str, Any]:
        size = self.sizes.get(path, len(content))
        found = {"rfilename": path, "size": size, "blobId": hashlib.sha1(content).hexdigest()}
        if path.endswith(".gguf"):
            found["lfs"] = {"size": size, "sha256": self.digest(path), "pointerSize": 134}
        return found

    def digest(self, path: str) -> str:
        """The SHA-256 that the hub names."""
        return self.digests.get(path, hashlib.sha256(self.files[path]).hexdigest())


@dataclass
class HubStandIn:
    """What the hub has, what goes wrong, and what it was asked."""

    repos: dict[str, Repo] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    """The next answers of the store end after so many bytes each, with the connection."""
    statuses: list[int] = field(default_factory=list)
    """The next answers of the store are these."""
    status: int = 0
    """What the hub answers to everything."""
    retry_after: str = ""
    body: bytes = b""
    """What the hub answers to everything, with 200."""
    whole_only: bool = False
    """The store does not know Range."""
    shifted: bool = False
    """The store sends another part than it was asked for."""
    more: bytes = b""
    """What the store sends after the end, without a word of the length."""
    hold: threading.Event = field(default_factory=threading.Event)
    """Set. If cleared, the store stops in the middle of an answer until it is set again."""
    asked: list[str] = field(default_factory=list)
    """`hub GET /path`, `store GET /path bytes=5-`."""
    tokens: list[tuple[str, str]] = field(default_factory=list)
    """(hub or store, Authorization) of each request that had one."""
    strange: list[str] = field(default_factory=list)
    """What the real hub would not have answered."""
    url: str = ""
    store_url: str = ""

    def ranges(self) -> list[str]:
        """From where on each request to the store wanted its file."""
        return [line.rpartition(" ")[2] for line in self.asked if line.startswith("store ")]

    def close_listening(self) -> None:
        """From now on nobody answers at this address."""
        for server in self.servers:
            server.shutdown()
            server.server_close()

    servers: list[ThreadingHTTPServer] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubStandIn
    role: str

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Nothing on standard error."""

    def do_HEAD(self) -> None:
        """Asked by the library's own download, which Whisper's models take."""
        self.do_GET()

    def do_GET(self) -> None:
        wanted = f" {self.headers.get('Range', 'all')}" if self.role == "store" else ""
        self.hub.asked.append(f"{self.role} {self.command} {self.path}{wanted}")
        if token := self.headers.get("Authorization"):
            self.hub.tokens.append((self.role, token))
        address = urlsplit(self.path)
        path = unquote(address.path)
        if self.role == "store":
            return self._store(path, address.query)
        if self.hub.status or self.hub.body:
            retry = {"Retry-After": self.hub.retry_after} if self.hub.retry_after else {}
            return self._answer(self.hub.status or 200, self.hub.body, **retry)
        if listing := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", path):
            return self._list(*listing.groups(), query=parse_qs(address.query))
        if tree := re.fullmatch(rf"/api/models/([^/]+/[^/]+)/tree/{COMMIT}", path):
            return self._tree(tree[1])
        if resolved := re.fullmatch(rf"/([^/]+/[^/]+)/resolve/{COMMIT}/(.+)", path):
            return self._resolve(*resolved.groups())
        self.hub.strange.append(self.path)
        return self._answer(404, b'{"error":"Sorry, we can\'t find the page you are looking for."}')

    def _repo(self, name: str) -> Repo | None:
        repo = self.hub.repos.get(name)
        if repo is None or (repo.token and self.headers.get("Authorization") != f"Bearer {repo.token}"):
            words = "Invalid username or password."
            self._answer(401, json.dumps({"error": words}).encode(), X_Error_Message=words, X_Error_Code="RepoNotFound")
            return None
        return repo

    def _list(self, name: str, revision: str, *, query: dict[str, list[str]]) -> None:
        if "blobs" not in query:
            self.hub.strange.append(self.path)
        if (repo := self._repo(name)) is None:
            return
        if revision not in {"main", COMMIT}:
            self._answer(404, b'{"error":"Invalid rev id"}', X_Error_Code="RevisionNotFound")
            return
        self._answer(200, json.dumps(repo.listing(name)).encode())

    def _tree(self, name: str) -> None:
        """The files once more, in the words of another route."""
        if (repo := self._repo(name)) is not None:
            files = repo.listing(name)["siblings"]
            told = [{"type": "file", "path": f["rfilename"], "size": f["size"], "oid": f["blobId"]} for f in files]
            self._answer(200, json.dumps(told).encode())

    def _resolve(self, name: str, path: str) -> None:
        if (repo := self._repo(name)) is None:
            return
        if repo.gated and not self.headers.get("Authorization"):
            words = f"Access to model {name} is restricted."
            self._answer(401, words.encode(), X_Error_Code="GatedRepo", X_Error_Message=words)
        elif path not in repo.files:
            self._answer(404, b"Entry not found", X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        else:
            self._answer(
                302,
                b"Found. Redirecting",
                Location=f"{self.hub.store_url}/{name}/{path}?{SIGNATURE}",
                X_Repo_Commit=COMMIT,
                X_Linked_Size=str(len(repo.files[path])),
                X_Linked_ETag=f'"{repo.digest(path)}"',
            )

    def _store(self, path: str, query: str) -> None:
        if self.hub.statuses:
            return self._answer(self.hub.statuses.pop(0), b"")
        owner, name, file = path.lstrip("/").split("/", 2)
        if query != SIGNATURE or self.headers.get("Authorization"):
            self.hub.strange.append(self.path)
            return self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        content = self.hub.repos[f"{owner}/{name}"].files[file]
        begins = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        at = int(begins[1]) if begins and not self.hub.whole_only else 0
        if begins and at >= len(content):
            return self._answer(416, b"", Content_Range=f"bytes */{len(content)}")
        told = at + (7 if self.hub.shifted and at else 0)
        headers = {"Content_Range": f"bytes {told}-{len(content) - 1}/{len(content)}"} if at else {}
        self._head(206 if at else 200, len(content) - at + len(self.hub.more), Accept_Ranges="bytes", **headers)
        return self._send(content[at:] + self.hub.more)

    def _send(self, content: bytes) -> None:
        end = self.hub.breaks.pop(0) if self.hub.breaks else len(content)
        middle = len(content) // 2
        for at in range(0, end, PIECE):
            if at <= middle < at + PIECE:
                self.hub.hold.wait()
            try:
                self.wfile.write(content[at : min(at + PIECE, end)])
            except OSError:  # the other end was killed
                break
        if end < len(content):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self._head(status, len(body), **headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


@contextmanager
def standing_in(**repos: Repo) -> Iterator[HubStandIn]:
    """A hub for as long as the block. `owner__name=Repo(...)` is the repository owner/name."""
    hub = HubStandIn({name.replace("__", "/"): repo for name, repo in repos.items()})
    hub.hold.set()
    for role in ("hub", "store"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type(role, (_Handler,), {"hub": hub, "role": role}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        hub.servers.append(server)
    hub.url, hub.store_url = (f"http://127.0.0.1:{server.server_port}" for server in hub.servers)
    try:
        yield hub
    finally:
        hub.hold.set()
        hub.close_listening()


class SilentHub:
    """A hub that takes every connection and never says a word."""

    def __init__(self, server: socket.socket) -> None:
        self.url = "http://{}:{}".format(*server.getsockname())
        self.asked = threading.Event()
        """Somebody has sent a request."""
        self.left = threading.Event()
        """And has gone."""
        threading.Thread(target=self._listen, args=(server,), daemon=True).start()

    def _listen(self, server: socket.socket) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = server.accept()
                threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            while connection.recv(PIECE):
                self.asked.set()
        self.left.set()


@contextmanager
def silent() -> Iterator[SilentHub]:
    """One for as long as the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield SilentHub(server)
