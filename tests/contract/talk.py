"""Short ways to write what happens in a conversation."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from bot.generation import Usage
from bot.messages import (
    Action,
    ActionName,
    AnswerState,
    Attachment,
    Author,
    Claim,
    ConversationKey,
    Deleted,
    Draft,
    Edited,
    Finished,
    Message,
    MessageRef,
    Role,
    SentPart,
    Triage,
)
from bot.ports import Received, Store
from bot.records import Content, Reading

CHAT = ConversationKey("telegram", "bot", "chat")
GROUP = ConversationKey("discord", "bot", "group", "thread")
ANN = Author("ann", "Ann")
BEN = Author("ben", "Ben")
THEN = datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
NOTES = Attachment(kind="file", name="notes.txt", media_type="text/plain", size=15, reference="f1")
WORDS = "Buy a lantern.\n"
"""What NOTES says."""


def said(event_id: str, text: str = "hello", *, key: ConversationKey = CHAT, by: Author = ANN, **more: Any) -> Message:
    more.setdefault("direct", key == CHAT)
    return Message(key=key, event_id=event_id, author=by, text=text, sent_at=THEN, **more)


def edited(event_id: str, text: str, revision: int = 5, *, key: ConversationKey = CHAT, by: Author = ANN) -> Edited:
    return Edited(key=key, event_id=event_id, revision=revision, author=by, text=text, sent_at=THEN)


def deleted(event_id: str, *, key: ConversationKey = CHAT) -> Deleted:
    return Deleted(key=key, event_id=event_id, sent_at=THEN)


def pressed(event_id: str, name: ActionName, target: str | None = None, *, key: ConversationKey = CHAT) -> Action:
    return Action(key=key, event_id=event_id, author=ANN, name=name, sent_at=THEN, target=target)


def finished(text: str, parent: int | None, **more: Any) -> Finished:
    """An ordinary answer of one message."""
    draft = Draft(
        role=Role.ASSISTANT,
        text=text,
        parent=parent,
        model="tiny@1",
        token_ids=(1, 70000, 3),
        prompt_tokens=10,
        cached_tokens=4,
        completion_tokens=3,
    )
    cost = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=3)
    return Finished(outcome=AnswerState.DONE, text=text, drafts=(draft,), model="tiny@1", usage=cost, **more)


def reading(words: str = WORDS, number: int = 0, reader: str = "text") -> Reading:
    """A document that was read."""
    data = words.encode()
    content = Content(
        hash=sha256(data).hexdigest(), reader=reader, media_type="text/plain", size=len(data), words=words
    )
    return Reading(number=number, content=content)


async def ask(store: Store, event_id: str, text: str = "hello", **more: Any) -> Received:
    return await store.receive(said(event_id, text, **more), Triage.PENDING)


async def overhear(store: Store, event_id: str, text: str = "hm", *, key: ConversationKey = GROUP) -> Received:
    return await store.receive(said(event_id, text, key=key, by=BEN), Triage.CONTEXT)


async def claimed(store: Store, owner: str = "worker", *, lease: float = 60) -> Claim:
    [claim] = await store.claims(owner, lease=lease, most=1)
    return claim


async def send(store: Store, claim: Claim, message_id: str, index: int = 0) -> None:
    """Send a part as delivery does: the intent first."""
    nonce = f"{claim.id}-{index}"
    await store.intend(claim, SentPart(index=index, nonce=nonce, message=None))
    ref = MessageRef(claim.conversation.key, message_id)
    await store.record_sent(claim, SentPart(index=index, nonce=nonce, message=ref))


async def answer(store: Store, text: str = "well", message_id: str | None = None) -> tuple[Claim, int]:
    """Answer the next question; returns the claim and the id of the answer's message."""
    claim = await claimed(store)
    if message_id is not None:
        await send(store, claim, message_id)
    new = await store.close(claim, AnswerState.DONE, finished(text, claim.question.id))
    return claim, new[-1]


async def texts(store: Store, tip: int | None) -> list[str]:
    return [message.text for message in await store.history(tip)]
