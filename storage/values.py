"""Values <-> what a column or a statement holds: clean text, times, token ids, JSON, lists of ids. Pure."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from bot.clean_json import dump
from bot.cleaning import clean
from bot.generation import Usage
from bot.messages import (
    AnswerState,
    Author,
    Button,
    ConversationKey,
    Draft,
    File,
    Finished,
    Message,
    MessageState,
    Outcome,
    Role,
    StoredMessage,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
DAY = 86_400_000_000
"""Microseconds."""
ID_LIMIT = 2**63
"""Above every id: what both databases count with."""
CHUNK = 500
"""Ids in one statement; SQLite before 3.32 allows 999 variables."""


def shortened(text: str, length: int) -> str:
    """A text on one line, at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def veiled(platform: str, account: str, chat: str) -> str:
    """What stands for a chat in the marks of events whose content a person had removed: the name may be their own."""
    return "forgotten:" + sha256("\0".join(clean(part) for part in (platform, account, chat)).encode()).hexdigest()


def chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    """Lists short enough for one statement."""
    rest = list(ids)
    for start in range(0, len(rest), CHUNK):
        yield rest[start : start + CHUNK]


def micros(time: datetime) -> int:
    """An aware time as microseconds since 1970 UTC: the same integer, compared the same way, in both databases."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(value: int) -> datetime:
    """The other way."""
    return _EPOCH + timedelta(0, 0, value)


def pack_ids(ids: tuple[int, ...] | None) -> bytes | None:
    """Token ids as little-endian 32-bit integers: 4 bytes each, where JSON takes 6 to 7."""
    return None if ids is None else struct.pack(f"<{len(ids)}I", *ids)


def unpack_ids(data: bytes | None) -> tuple[int, ...] | None:
    """The other way."""
    return None if data is None else struct.unpack(f"<{len(data) // 4}I", data)


def pack_event(event: Message) -> str:
    """What a message's own columns and its attachments do not hold, as JSON; defaults are left out."""
    author = event.author
    data: dict[str, Any] = {
        "sent_at": micros(event.sent_at),
        "revision": event.revision,
        "direct": event.direct,
        "addressed": event.addressed,
        "reply_to": event.reply_to,
        "interaction": event.interaction,
        "can_reply_privately": event.can_reply_privately,
        "is_bot": author.is_bot,
        "roles": sorted(author.roles),
        "guild": author.guild,
        "manages": author.manages,
    }
    told = {name: value for name, value in data.items() if value}
    return dump(told if event.follows is None else {**told, "follows": event.follows})


def unpack_event(data: str, *, key: ConversationKey, question: StoredMessage, typed: str) -> Message:
    """The message as it came from the platform. Its text is what is typed there now: what was said is no command."""
    assert question.event_id is not None, "a question came from a platform"
    assert question.author is not None, "a question has an author"
    values = json.loads(data)
    return Message(
        key=key,
        event_id=question.event_id,
        author=question.author,
        text=typed,
        sent_at=time_of(values["sent_at"]),
        revision=values.get("revision", 0),
        direct=values.get("direct", False),
        addressed=values.get("addressed", False),
        reply_to=values.get("reply_to"),
        attachments=tuple(item.attachment for item in question.attachments),
        interaction=values.get("interaction"),
        can_reply_privately=values.get("can_reply_privately", False),
        follows=values.get("follows"),
    )


_OF_AUTHORS = re.compile('"(?:is_bot|roles|guild|manages)"')
"""What `pack_event` may tell of an author; each may stand there for another reason, too."""


def unpack_author(author_id: str, name: str, data: str) -> Author:
    """A message's author."""
    if not _OF_AUTHORS.search(data):  # of nearly all in private chats, and a history has many
        return Author(author_id, name)
    values = json.loads(data)
    return Author(
        author_id,
        name,
        values.get("is_bot", False),
        frozenset(values.get("roles", ())),
        values.get("guild", ""),
        values.get("manages", False),
    )


def revised(data: str, revision: int) -> str:
    """The same event at a later revision."""
    return dump({**json.loads(data), "revision": revision})


def pack_finished(finished: Finished) -> str:
    """A finished answer as JSON, its files included."""
    return dump(
        {
            "outcome": finished.outcome,
            "text": finished.text,
            "drafts": [_draft(draft) for draft in finished.drafts],
            "window_start": finished.window_start,
            "moves_head": finished.moves_head,
            "private": finished.private,
            "buttons": [[b.id, b.label, b.group, b.chosen] for b in finished.buttons],
            "files": [[f.name, f.media_type, base64.b64encode(f.data).decode()] for f in finished.files],
            "model": finished.model,
            "usage": {
                "prompt_tokens": finished.usage.prompt_tokens,
                "cached_tokens": finished.usage.cached_tokens,
                "completion_tokens": finished.usage.completion_tokens,
            },
            "erase": finished.erase,
            "unkept": finished.unkept,
        }
    )


def unpack_finished(data: str) -> Finished:
    """The other way."""
    values = json.loads(data)
    outcome: Outcome = AnswerState(values.pop("outcome"))  # type: ignore[assignment]  # pack_finished wrote it
    drafts = tuple(
        Draft(
            role=Role(item.pop("role")),
            state=MessageState(item.pop("state")),
            token_ids=None if (ids := item.pop("token_ids")) is None else tuple(ids),
            **item,
        )
        for item in values.pop("drafts")
    )
    files = tuple(File(name, media_type, base64.b64decode(text)) for name, media_type, text in values.pop("files"))
    buttons = tuple(Button(*known) for known in values.pop("buttons", ()))  # earlier versions kept less, or none
    used = Usage(**values.pop("usage"))
    return Finished(outcome=outcome, drafts=drafts, files=files, buttons=buttons, usage=used, **values)


def _draft(draft: Draft) -> dict[str, Any]:
    return {
        "role": draft.role,
        "text": draft.text,
        "parent": draft.parent,
        "state": draft.state,
        "model": draft.model,
        "token_ids": draft.token_ids,
        "prompt_tokens": draft.prompt_tokens,
        "cached_tokens": draft.cached_tokens,
        "completion_tokens": draft.completion_tokens,
    }
