"""A clock, a platform, a ledger and a delivery together, for tests of what becomes of an answer's pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from adapters.delivery import Delivery
from bot.errors import LeaseLost
from bot.messages import (
    AnswerState,
    Author,
    Claim,
    Conversation,
    ConversationKey,
    Draft,
    File,
    Finished,
    Limits,
    Message,
    MessageState,
    Outcome,
    Outgoing,
    Piece,
    Role,
    SentPart,
    Settings,
    StoredMessage,
)
from bot.testing import MemoryAdapter, VirtualClock

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CHAT = ConversationKey("memory", "bot", "chat", "thread")
FILE = File("data.json", "application/json", b"{}")
Step = Piece | float | BaseException
"""A piece, or seconds to wait, or an error to raise."""


@dataclass
class Memo:
    """A Ledger in memory: parts by answer and index, as a Store keeps them."""

    parts: dict[int, dict[int, SentPart]] = field(default_factory=dict)
    intents: list[SentPart] = field(default_factory=list)
    lost: bool = False
    record: Callable[[], Awaitable[None]] | None = None
    """What to wait for while a message's id is committed."""
    never_known: int = 0
    """Parts that were dropped before their message was acknowledged."""

    kept: dict[int, Finished] = field(default_factory=dict)
    """Finished answers, by the claim's id."""
    writes: list[str] = field(default_factory=list)
    """The transactions, in order."""
    unclosed: Exception | None = None
    """What closing raises."""

    async def intend(self, claim: Claim, part: SentPart, finished: Finished | None = None) -> None:
        await asyncio.sleep(0)
        if self.lost:
            raise LeaseLost("another worker has it")
        assert part.message is None
        if finished is not None:
            self.kept[claim.id] = finished
        self.writes.append("intend, keep" if finished else "intend")
        self.intents.append(part)
        self.parts.setdefault(claim.id, {})[part.index] = part

    async def record_sent(self, claim: Claim, part: SentPart) -> None:
        await self._record(claim, part)
        self.writes.append("record")

    async def _record(self, claim: Claim, part: SentPart) -> None:
        await asyncio.sleep(0)
        if self.record:
            await self.record()
        assert part.message
        assert self.parts[claim.id][part.index].nonce == part.nonce
        self.parts[claim.id][part.index] = part

    async def drop_part(self, claim: Claim, index: int) -> None:
        await asyncio.sleep(0)
        self.never_known += self.parts[claim.id].pop(index).message is None

    async def keep(self, claim: Claim, finished: Finished) -> None:
        await asyncio.sleep(0)
        if self.lost:
            raise LeaseLost("another worker has it")
        self.writes.append("keep")
        self.kept[claim.id] = finished

    async def close(
        self, claim: Claim, outcome: Outcome, finished: Finished | None, sent: SentPart | None = None
    ) -> tuple[int, ...]:
        await asyncio.sleep(0)
        if self.unclosed:
            raise self.unclosed
        if sent is not None:
            await self._record(claim, sent)
        if self.lost:
            raise LeaseLost("another worker has it")
        self.writes.append("record, close" if sent else "close")
        return ()

    def of(self, claim: Claim) -> tuple[SentPart, ...]:
        known = self.parts.get(claim.id, {})
        return tuple(known[index] for index in sorted(known))


class Stage:
    """A clock, a platform, a ledger and a delivery."""

    def __init__(self, *, code_file_lines: int = 0, **limits: object) -> None:
        self.time = VirtualClock()
        chosen = {"text": 100, "seconds_per_call": 1.0, "burst": 1, "files": True, "private_answers": True} | limits
        self.platform = MemoryAdapter(
            limits=Limits(**chosen),  # type: ignore[arg-type]
            clock=self.time.now,
            sleep=self.time.sleep,
        )
        self.ledger = Memo()
        self.delivery = Delivery(
            self.ledger,
            self.time.now,
            self.time.sleep,
            later=self.time.later,
            code_file_lines=lambda: code_file_lines,
        )
        self.taken: list[float] = []
        """When each piece was taken."""

    async def pieces(self, steps: tuple[Step, ...]) -> AsyncIterator[Piece]:
        for step in steps:
            if isinstance(step, float):
                await self.time.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                yield step
                self.taken.append(self.time.now())

    async def deliver(self, claim: Claim, *steps: Step) -> Finished:
        return await self.time.run(self.start(claim, *steps))

    async def start(self, claim: Claim, *steps: Step) -> Finished:
        return await self.delivery.deliver(claim, self.platform, self.pieces(steps))

    def texts(self, key: ConversationKey = CHAT) -> list[str]:
        return [what.text for what in self.platform.standing(key)]

    def shown(self) -> list[object]:
        return [call.what for call in self.platform.calls if call.kind == "show"]

    def calls(self, *kinds: str) -> list[tuple[float, str]]:
        """When, since the beginning, and the text."""
        calls = [call for call in self.platform.calls if call.kind in (kinds or ("send", "edit"))]
        return [(round(c.at - 1000, 3), c.what.text if isinstance(c.what, Outgoing) else "") for c in calls]

    def agree(self, claim: Claim) -> None:
        """The ledger knows just the messages that stand."""
        known = [part.message for part in self.ledger.of(claim)]
        standing = [posted.ref for posted in self.platform.messages if not posted.deleted]
        assert known == standing


def a_claim(number: int = 1, key: ConversationKey = CHAT, **changes: object) -> Claim:
    event = Message(key=key, event_id=f"q{number}", author=Author("7", "Ann"), text="?", sent_at=NOW, direct=True)
    question = StoredMessage(
        id=number, parent=None, role=Role.USER, text="?", author=None, state=MessageState.PENDING, created_at=NOW
    )
    conversation = Conversation(id=1, key=key, direct=True, settings=Settings(), head=None, first_day=date(2026, 11, 1))
    claim = Claim(
        id=number, conversation=conversation, question=question, event=event, attempt=1, owner="w", received_at=NOW
    )
    return replace(claim, **changes)  # type: ignore[arg-type]


def in_group(claim: Claim, *, private: bool = False) -> Claim:
    return replace(claim, event=replace(claim.event, direct=False, can_reply_privately=private))


def done(text: str, **changes: object) -> Finished:
    draft = Draft(role=Role.ASSISTANT, text=text, parent=None)
    finished = Finished(outcome=AnswerState.DONE, text=text, drafts=(draft,))
    return replace(finished, **changes)  # type: ignore[arg-type]
