"""SqlStore: the ports `Store` and `ApiStore` over SQLite or PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, update

from bot import aside
from bot.generation import Usage
from bot.messages import (
    Claim,
    Conversation,
    ConversationKey,
    Event,
    Finished,
    GuildKey,
    GuildSettings,
    Left,
    Outcome,
    SentPart,
    Settings,
    StoredMessage,
    Triage,
    Trigger,
)
from bot.ports import Exported, Forgotten, Received
from bot.records import Found, Node, PlatformCount, Reading, Thread
from storage import (
    api_kept,
    attachments,
    backup,
    branching,
    claiming,
    closing,
    guilds,
    lines,
    notes,
    pairing,
    privacy,
    reading,
    receiving,
    searching,
    threads,
    waiting,
)
from storage.api_store import SqlApiStore
from storage.engine import Engines, connect
from storage.failures import translated
from storage.known import SHARED_SECONDS, Known
from storage.migrate import migrate
from storage.models import answers
from storage.transaction import Measured, Transactions

T = TypeVar("T")


class SqlStore(SqlApiStore):
    """Every method is one transaction. Text is stored with NUL and lone surrogates replaced by U+FFFD.

    Every method raises DatabaseError when the database fails; then nothing of it was written, and it may be tried
    again (after a broken connection to PostgreSQL in the middle of a commit: what it did is known only by trying).
    """

    def __init__(self, engines: Engines, transactions: Transactions) -> None:
        lasts = SHARED_SECONDS if engines.path is None else math.inf
        super().__init__(transactions, lasts)
        self._engines = engines
        self._scrubbed_on: date | None = None
        self._paired: Known[tuple[str, str], bool] = Known(lasts)
        self._triggers: Known[GuildKey, Trigger | None] = Known(lasts)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        default_retention_days: int,
        clock: Callable[[], datetime] | None = None,
        measured: Measured | None = None,
    ) -> Self:
        """Connect, bring the schema up to date, and take back what a dead process had begun.

        `clock` tells the time in UTC (None: the system's); where several processes share a PostgreSQL, their clocks must agree within a
        small part of a lease. `measured` is told of every operation. Raises DatabaseError.
        """
        engines = connect(url)
        try:
            with translated(engines.name):
                async with engines.write.begin() as connection:
                    await connection.run_sync(_prepare, engines)
        except BaseException:
            await engines.dispose()
            raise
        return cls(engines, Transactions(engines, default_retention_days, clock, measured))

    async def aclose(self) -> None:
        """Finish what is being written and let go of the database."""
        await self._transactions.aclose()
        await self._engines.dispose()

    async def receive(self, event: Event, triage: Triage) -> Received:
        """See `bot.ports.Store`."""
        try:
            return await self._transactions.write(lambda t: receiving.receive(t, event, triage))
        finally:
            if isinstance(event, Left) and event.guild:
                self._triggers.forget(GuildKey(event.key.platform, event.key.account, event.guild))

    async def claims(
        self,
        owner: str,
        *,
        lease: float,
        accounts: Collection[tuple[str, str]] | None = None,
        busy: Collection[int] = (),
        most: int,
    ) -> Iterable[Claim]:
        """See `bot.ports.Store`."""
        return await self._transactions.write(
            lambda t: claiming.claims(t, owner=owner, lease=lease, accounts=accounts, busy=busy, most=most)
        )

    async def claim(self, owner: str, **how: Any) -> Claim | None:
        """One of `claims`, which says what else is asked for; None when nothing waits."""
        return next(iter(await self.claims(owner, most=1, **how)), None)

    async def stop(self, key: ConversationKey, *, asker: str | None, before: datetime | None = None) -> int | None:
        """See `bot.ports.Store`."""
        return await self._transactions.write(lambda t: waiting.stop(t, key, asker, before))

    async def is_open(self, key: ConversationKey, event_id: str) -> bool:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: reading.is_open(t, key, event_id))

    async def answer_to(self, key: ConversationKey, event_id: str) -> StoredMessage | None:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: reading.answer_to(t, key, event_id))

    async def set_aside(self, claim: Claim, behind: int | None) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: branching.set_aside(t, claim, behind))

    async def extend(self, claim: Claim, *, lease: float) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: closing.extend(t, claim, lease))

    async def release(self, claim: Claim) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: closing.release(t, claim))

    async def intend(self, claim: Claim, part: SentPart, finished: Finished | None = None) -> None:
        """See `bot.ports.Ledger`."""
        await self._transactions.write(lambda t: closing.intend(t, claim, part, finished))

    async def record_sent(self, claim: Claim, part: SentPart) -> None:
        """See `bot.ports.Ledger`."""
        await self._transactions.write(lambda t: closing.record_sent(t, claim, part))

    async def drop_part(self, claim: Claim, index: int) -> None:
        """See `bot.ports.Ledger`."""
        await self._transactions.write(lambda t: closing.drop_part(t, claim, index))

    async def keep(self, claim: Claim, finished: Finished) -> None:
        """See `bot.ports.Ledger`."""
        await self._transactions.write(lambda t: closing.keep(t, claim, finished))

    async def close(
        self, claim: Claim, outcome: Outcome, finished: Finished | None, sent: SentPart | None = None
    ) -> tuple[int, ...]:
        """See `bot.ports.Ledger`."""
        return await self._transactions.write(lambda t: closing.close(t, claim, outcome, finished, sent))

    async def record_read(self, message: int, readings: Sequence[Reading]) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: attachments.record(t, message, readings))

    async def file(self, digest: str) -> bytes | None:
        """See bot.ports.Store."""
        return await self._transactions.read(lambda t: attachments.file(t, digest))

    async def history(self, tip: int | None) -> list[StoredMessage]:
        """See `bot.ports.Store`."""
        return [] if tip is None else await self._transactions.read(lambda t: reading.history(t, tip))

    async def conversation(
        self, key: ConversationKey, *, direct: bool = True, person: str | None = None
    ) -> Conversation:
        """See `bot.ports.Store`."""
        if person is None and (known := await self.find_conversation(key)):
            return known
        return await self._transactions.write(lambda t: threads.conversation(t, key, direct=direct, person=person))

    async def find_conversation(self, key: ConversationKey) -> Conversation | None:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: reading.conversation(t, key))

    async def set_head(self, conversation: int, head: int | None) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: lines.set_head(t, conversation, head))

    async def set_settings(self, conversation: int, settings: Settings) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: threads.set_settings(t, conversation, settings))

    async def set_title(self, conversation: int, title: str) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: threads.set_title(t, conversation, title))

    async def threads(self, platform: str, account: str, chat: str) -> list[Thread]:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: threads.threads(t, platform, account, chat))

    async def line(self, conversation: int, *, limit: int = 200, before: int | None = None) -> list[Node]:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: lines.line(t, conversation, limit, before))

    async def choose(self, conversation: int, message: int) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: lines.choose(t, conversation, message))

    async def delete_conversation(self, conversation: int) -> Forgotten:
        """See `bot.ports.Store`."""
        return await self._transactions.write(lambda t: threads.delete_conversation(t, conversation))

    async def search(self, platform: str, account: str, chat: str, words: str, *, limit: int = 50) -> list[Found]:
        """See `bot.ports.Store`."""
        return await searching.search(self._transactions, (platform, account, chat), words, limit)

    async def overview(self) -> list[PlatformCount]:
        """See `bot.ports.Store`."""
        return await self._transactions.read(threads.overview)

    async def find_sent(self, key: ConversationKey, message_id: str) -> StoredMessage | None:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: reading.find_sent(t, key, message_id))

    async def pending(self, conversation: int | None = None) -> int:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: reading.pending(t, conversation))

    async def count_today(self, platform: str, author: str) -> Usage:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: reading.count_today(t, platform, author))

    async def usage(self, *, platform: str | None = None, author: str | None = None) -> list[dict[str, object]]:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: reading.usage_by_day(t, platform, author))

    async def export(self, platform: str, author: str) -> Exported:
        """See `bot.ports.Store`."""
        exported = await self._transactions.read(lambda t: reading.export(t, platform, author))
        return await aside.run(reading.size_of_json(exported), lambda: reading.with_json(exported))

    async def forget_message(self, message: int) -> Forgotten:
        """See `bot.ports.Store`."""
        return await self._transactions.write(lambda t: privacy.forget_message(t, message))

    async def forget_person(self, platform: str, author: str, *, but: int | None = None) -> Forgotten:
        """See `bot.ports.Store`."""
        try:
            return await self._transactions.write(lambda t: privacy.forget_person(t, platform, author, but))
        finally:  # it may have been removed although its traces could not be cleaned away
            self._paired.forget((platform, author))

    async def pair(self, platform: str, person: str) -> None:
        """See `bot.ports.Store`."""
        await self._transactions.write(lambda t: pairing.pair(t, platform, person))

    async def is_paired(self, platform: str, person: str) -> bool:
        """See `bot.ports.Store`."""
        if (platform, person) in self._paired:
            return True
        forgotten = self._paired.forgotten
        found = await self._transactions.read(lambda t: pairing.paired_at(t, platform, person)) is not None
        if found:
            self._paired.note((platform, person), True, forgotten)
        return found

    async def guild(self, key: GuildKey) -> GuildSettings:
        """See `bot.ports.Store`."""
        return await self._transactions.read(lambda t: guilds.read(t, key))

    async def set_guild(self, key: GuildKey, settings: GuildSettings) -> None:
        """See `bot.ports.Store`."""
        try:
            await self._transactions.write(lambda t: guilds.write(t, key, settings))
        finally:  # whether it was written is not known after every error
            self._triggers.forget(key)

    async def trigger(self, key: GuildKey) -> Trigger | None:
        """See `bot.ports.Store`."""
        if key not in self._triggers:
            forgotten = self._triggers.forgotten
            found = (await self.guild(key)).trigger
            self._triggers.note(key, found, forgotten)
            return found
        return self._triggers[key]

    async def notes(self, platform: str, account: str) -> dict[str, str]:
        """See `bot.ports.Notes`."""
        return await self._transactions.read(lambda t: notes.read(t, platform, account))

    async def note(self, platform: str, account: str, changes: Mapping[str, str | None]) -> None:
        """See `bot.ports.Notes`."""
        await self._transactions.write(lambda t: notes.write(t, platform, account, changes))

    async def direct_chats(self, platform: str, account: str, *, limit: int) -> list[str]:
        """See `bot.ports.Notes`."""
        return await self._transactions.read(lambda t: notes.direct_chats(t, platform, account, limit))

    async def expire(self, now: datetime, default_days: int) -> Forgotten:
        """See `bot.ports.Store`. Many small transactions; then, once a day, SQLite's file is written anew.

        That last step keeps writers waiting for about 10 ms per MiB.
        """
        gone, answered, cleaned = 0, 0, False
        while old := await self._transactions.read(lambda t: privacy.expired(t, now, default_days)):
            for batch in _batches(old):
                removed = await self._transactions.write(partial(privacy.remove_expired, ids=batch))
                gone, answered = gone + removed.messages, answered + removed.answers
        while emptied := await self._transactions.read(lambda t: privacy.emptied(t, now, default_days)):
            for batch in _batches(emptied):
                await self._transactions.write(partial(privacy.remove_titles, ids=batch))
            cleaned = True
        while kept := await self._transactions.read(lambda t: api_kept.expired(t, now, default_days, privacy.ROUND)):
            for names in _batches(kept):
                await self._transactions.write(partial(api_kept.remove, ids=names))
            cleaned = True
        if (gone or cleaned) and now.date() != self._scrubbed_on:
            self._scrubbed_on = now.date()
            await self._transactions.write(privacy.scrub)
        while keys := await self._transactions.read(lambda t: privacy.expired_events(t, now)):
            for chunk in _batches(keys):
                await self._transactions.write(partial(privacy.remove_events, keys=chunk))
        return Forgotten(messages=gone, answers=answered)

    async def backup(self, target: Path) -> None:
        """See `bot.ports.Store`."""
        await backup.backup(self._transactions, self._engines, target)


def _prepare(connection: Connection, engines: Engines) -> None:
    migrate(connection, engines.name)
    if engines.path is not None:
        # Nobody else uses the file, so whoever held a lease is dead: his answers are due at once.
        connection.execute(update(answers).where(answers.c.lease_until.is_not(None)).values(lease_until=0))


def _batches(rows: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(rows), privacy.BATCH):
        yield rows[start : start + privacy.BATCH]
