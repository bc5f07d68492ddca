"""The CDN: files by addresses that are signed and expire after a day."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aiohttp import web

from tests.discord_fake.scene import Scene, StoredFile

_FILE = re.compile(r"attachments/\d+/(\d+)/[^/]+")
_GONE = "This content is no longer available."


def stored_at(scene: Scene, path: str) -> StoredFile | None:
    """The file of an address's path."""
    match = _FILE.fullmatch(path)
    return scene.files.get(int(match[1])) if match else None


def download(scene: Scene, path: str, query: Mapping[str, str]) -> web.Response:
    """A file, or the 404 that the platform gives for what is unknown, forged or too old."""
    stored = stored_at(scene, path)
    if stored is None:
        return web.Response(status=404, text=_GONE)
    try:
        end = int(query.get("ex", ""), 16)
    except ValueError:
        return web.Response(status=404, text=_GONE)
    if end < scene.now() or query.get("hm") != scene.signature(stored, end):
        return web.Response(status=404, text=_GONE)
    return web.Response(body=stored.content, headers={"Content-Type": stored.media_type})
