"""A dispatcher that is cancelled, and not drained: another part of the process could not start."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bot.errors import DatabaseError
from bot.messages import Claim
from storage.store import SqlStore
from tests.house import house


async def test_claims_of_a_process_that_gives_up_are_no_attempts(tmp_path: Path) -> None:
    """As where another part of it cannot start: it may try that again and again."""
    arrived = asyncio.Event()

    class Watched(SqlStore):
        async def claims(self, *args: Any, **how: Any) -> Iterable[Claim]:
            arrived.set()
            return await super().claims(*args, **how)

    store = await Watched.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    async with house(tmp_path, store=store, start=False) as h:
        for chat in ("one", "two", "three"):
            await h.say("tell me", chat=chat)
        for _ in range(5):
            arrived.clear()
            running = asyncio.create_task(h.dispatcher.run())
            await arrived.wait()
            running.cancel()
            await asyncio.wait([running])
        taken = list(await h.store.claims("next", lease=60, most=9))
        assert [claim.attempt for claim in taken] == [1, 1, 1]


async def test_who_gives_up_while_the_database_fails_has_ended(tmp_path: Path) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    class Broken(SqlStore):
        async def claims(self, *args: Any, **how: Any) -> Iterable[Claim]:
            arrived.set()
            await go.wait()
            raise DatabaseError("the disk is gone")

    store = await Broken.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    async with house(tmp_path, store=store, start=False) as h:
        running = asyncio.create_task(h.dispatcher.run())
        await arrived.wait()
        running.cancel()
        await asyncio.sleep(0)
        go.set()
        await asyncio.wait([running])
        assert running.cancelled()
