"""The files of the page: read once, served from a table by name, so that no path is ever made of what a request says."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json; charset=utf-8",
    ".woff2": "font/woff2",
}
"""What the page may be made of; other files are not served."""
COMPRESSED = ("text/", "image/svg", "application/")
REVALIDATED = "no-cache"
"""A browser asks each time whether its copy is the last: an update is never mixed with what was before."""


@dataclass(frozen=True, slots=True)
class Static:
    """One file."""

    data: bytes
    zipped: bytes
    """The same in gzip; empty where that makes no difference."""
    media_type: str
    etag: str


def load(folder: Traversable | None = None) -> Mapping[str, Static]:
    """All files by their names, with `/` for those in folders."""
    root = folder or files("adapters.web") / "static"
    return dict(_walk(root, ""))


def respond(request: web.Request, static: Static, *, data: bytes | None = None, status: int = 200) -> web.Response:
    """A file, or that the browser has it already. `data`: it with a word put in, which no browser is to keep."""
    headers = {"Content-Type": static.media_type, "Cache-Control": REVALIDATED if data is None else "no-store"}
    if data is not None:
        return web.Response(body=data, status=status, headers=headers)
    headers |= {"ETag": static.etag, "Vary": "Accept-Encoding"}
    if static.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    if static.zipped and "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=static.zipped, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=static.data, headers=headers)


def _walk(folder: Traversable, before: str) -> Iterator[tuple[str, Static]]:
    for entry in folder.iterdir():
        name = before + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{name}/")
        elif media_type := TYPES.get("." + entry.name.rpartition(".")[2]):
            yield name, _static(entry.read_bytes(), media_type)


def _static(data: bytes, media_type: str) -> Static:
    zipped = gzip.compress(data, mtime=0) if media_type.startswith(COMPRESSED) else b""
    etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    return Static(data, zipped if len(zipped) < len(data) else b"", media_type, etag)
