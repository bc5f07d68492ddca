"""What the store promises about an adapter's notes, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio

from bot.messages import ConversationKey, Settings
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import ask


async def test_notes_are_each_account_s_own(store: SqlStore) -> None:
    assert await store.notes("discord", "1") == {}
    await store.note("discord", "1", {"heard": "17", "menus": "abc"})
    await store.note("discord", "2", {"heard": "18"})
    await store.note("telegram", "1", {"heard": "19"})
    assert await store.notes("discord", "1") == {"heard": "17", "menus": "abc"}
    assert await store.notes("discord", "2") == {"heard": "18"}


async def test_a_note_takes_the_place_of_the_one_before_and_none_removes_it(store: SqlStore) -> None:
    await store.note("discord", "1", {"heard": "17", "menus": "abc"})
    await store.note("discord", "1", {"heard": "20", "menus": None, "never there": None})
    assert await store.notes("discord", "1") == {"heard": "20"}
    await store.note("discord", "1", {})
    await asyncio.gather(*(store.note("discord", "1", {"heard": str(n)}) for n in range(5)))
    assert set(await store.notes("discord", "1")) == {"heard"}


async def test_they_outlive_the_process_and_time(open_store: OpenStore, clock: Clock) -> None:
    store = await open_store()
    await store.note("discord", "1", {"heard": "17"})
    await store.aclose()
    store = await open_store()
    clock.pass_(days=400)
    await store.expire(clock.now, 30)
    await store.forget_person("discord", "17")
    assert await store.notes("discord", "1") == {"heard": "17"}


async def test_direct_chats_come_with_the_liveliest_first(store: SqlStore, clock: Clock) -> None:
    for number, chat in enumerate(("7", "8", "9", "8")):
        clock.pass_(minutes=1)
        await ask(store, str(number), "hello", key=ConversationKey("discord", "1", chat), direct=True)
    await ask(store, "5", "hello", key=ConversationKey("discord", "2", "6"), direct=True)
    group = await store.conversation(ConversationKey("discord", "1", "5"), direct=False)
    await store.set_settings(group.id, Settings(persona="pirate"))
    assert await store.direct_chats("discord", "1", limit=10) == ["8", "9", "7"]
    assert await store.direct_chats("discord", "1", limit=2) == ["8", "9"]
    assert await store.direct_chats("telegram", "1", limit=2) == []
