"""Downloads: a conversation as JSON or Markdown, everything of a person, and files of answers."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from aiohttp import web

from adapters.web import wire
from bot.messages import Conversation
from bot.ports import Store
from bot.records import Node

FORMS = ("json", "markdown")
PAGE = 500
"""Messages that are read from the store at a time."""
MAX_NAME = 60
PLAIN = frozenset({"application/json", "text/markdown", "text/plain", "text/csv"})
"""Media types of downloads; others are told as octets: a browser is never to open one as a page."""


def download(data: bytes, name: str, media_type: str) -> web.Response:
    """A file that is saved and never shown."""
    kind = media_type if media_type in PLAIN else "application/octet-stream"
    headers = {
        "Content-Type": f"{kind}; charset=utf-8" if kind in PLAIN else kind,
        "Content-Disposition": disposition(name),
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return web.Response(body=data, headers=headers)


def disposition(name: str) -> str:
    """RFC 6266: the name for every browser, and as it is for those of this century."""
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(c for c in last if c.isprintable()).strip(" .") or "file"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", shown)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown, safe='')}"


async def conversation(store: Store, place: Conversation, form: str, *, page: int = PAGE) -> web.Response:
    """A conversation's line from its beginning, of which `page` messages are read at a time."""
    line = await _whole(store, place.id, page)
    title = place.title or next((n.message.text for n in line if n.message.author), "") or "conversation"
    if form == "markdown":
        data = await asyncio.to_thread(_markdown, place, line)
        return download(data, f"{_file_name(title)}.md", "text/markdown")
    data = await asyncio.to_thread(_json, place, line)
    return download(data, f"{_file_name(title)}.json", "application/json")


async def _whole(store: Store, place: int, page: int) -> list[Node]:
    line = await store.line(place, limit=page)
    while line and line[0].message.parent is not None:
        older = await store.line(place, limit=page, before=line[0].message.id)
        if not older:
            break
        line = older + line
    return line


def _json(place: Conversation, line: list[Node]) -> bytes:
    data: dict[str, Any] = {
        "title": place.title,
        "settings": wire.settings(place.settings),
        "exported_at": datetime.now(UTC).isoformat(),
        "messages": [_message(node) for node in line],
    }
    return json.dumps(data, ensure_ascii=False, indent=2).encode()


def _message(node: Node) -> dict[str, Any]:
    told = wire.node(node, "")
    return {key: value for key, value in told.items() if key not in {"html", "siblings"}}


def _markdown(place: Conversation, line: list[Node]) -> bytes:
    parts = [f"# {place.title}"] if place.title else []
    for node in line:
        message = node.message
        who = message.author.name if message.author else "Hearth"
        parts.append(f"## {who}, {message.created_at:%Y-%m-%d %H:%M} UTC\n\n{message.text.strip()}")
        parts += [f"- file: {item.attachment.name}" for item in message.attachments]
    return ("\n\n".join(parts) + "\n").encode()


def _file_name(title: str) -> str:
    words = " ".join(re.sub(r"[^\w .-]", " ", title).split())
    return words[:MAX_NAME].strip(" .") or "conversation"
