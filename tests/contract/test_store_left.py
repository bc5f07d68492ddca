"""What the store promises of a chat that the bot has left, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.errors import LeaseLost
from bot.messages import ActionName, AnswerState, ConversationKey, Left, MessageRef, Settings, Triage
from bot.ports import Received
from storage.store import SqlStore
from tests.contract.talk import (
    BEN,
    CHAT,
    GROUP,
    NOTES,
    THEN,
    answer,
    ask,
    claimed,
    deleted,
    edited,
    finished,
    overhear,
    pressed,
    reading,
    send,
    texts,
)

OTHER_THREAD = replace(GROUP, thread="another")
OTHER_CHAT = replace(GROUP, chat="another")


def left(event_id: str = "left-1", *, key: ConversationKey = GROUP) -> Left:
    return Left(key=replace(key, thread=""), event_id=event_id, sent_at=THEN)


async def leave(store: SqlStore, event_id: str = "left-1", *, key: ConversationKey = GROUP) -> Received:
    return await store.receive(left(event_id, key=key), Triage.PENDING)


async def test_every_thread_of_the_chat_goes_with_all_that_is_in_it(store: SqlStore) -> None:
    for number, key in enumerate((GROUP, OTHER_THREAD)):
        received = await ask(store, f"{number}", "one", key=key, attachments=(NOTES,))
        assert received.message is not None
        await store.record_read(received.message, [reading()])
        _, tip = await answer(store, "eins", f"m{number}")
        place = await store.conversation(key)
        await store.set_settings(place.id, Settings(persona="pirate"))
        await store.set_title(place.id, "A title")
    await overhear(store, "5")
    assert await leave(store) == Received()
    for key in (GROUP, OTHER_THREAD):
        assert await store.find_conversation(key) is None
    assert await store.history(tip) == []
    assert await store.find_sent(GROUP, "m0") is None
    assert await store.threads("discord", "bot", "group") == []
    for person in ("ann", "ben"):
        assert (await store.export("discord", person)).data["conversations"] == []
    assert (await store.conversation(GROUP, direct=False)).settings == Settings()


async def test_a_thread_goes_alone(store: SqlStore) -> None:
    for number, key in enumerate((GROUP, OTHER_THREAD, replace(GROUP, thread=""))):
        await ask(store, f"{number}", "one", key=key)
        await answer(store, "eins")
    assert await store.receive(replace(left(), key=GROUP), Triage.PENDING) == Received()
    assert await store.find_conversation(GROUP) is None
    for key in (OTHER_THREAD, replace(GROUP, thread="")):
        place = await store.find_conversation(key)
        assert place is not None
        assert await texts(store, place.head) == ["one", "eins"]
    unknown = replace(GROUP, thread="never there")
    assert await store.receive(replace(left("left-2"), key=unknown), Triage.PENDING) == Received()


async def test_other_chats_accounts_and_platforms_keep_theirs(store: SqlStore) -> None:
    others = (OTHER_CHAT, replace(GROUP, account="bot2"), replace(GROUP, platform="telegram"))
    for key in (GROUP, *others):
        await ask(store, "1", "one", key=key)
        await answer(store, "eins")
    await leave(store)
    for key in others:
        place = await store.find_conversation(key)
        assert place is not None
        assert await texts(store, place.head) == ["one", "eins"]


async def test_what_waits_is_not_answered_and_what_is_being_answered_ends(store: SqlStore) -> None:
    """What was sent of it is no orphan: the bot cannot delete anything there any more."""
    await ask(store, "1", key=GROUP)
    claim = await claimed(store)
    await send(store, claim, "m1")
    await ask(store, "2", key=GROUP)
    await ask(store, "3", key=OTHER_THREAD)
    assert await leave(store) == Received(superseded=(claim.id,))
    assert await store.pending() == 0
    assert await store.claim("worker", lease=60) is None
    with pytest.raises(LeaseLost):
        await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
    with pytest.raises(LeaseLost):
        await store.extend(claim, lease=60)


async def test_nothing_brings_it_back(store: SqlStore) -> None:
    await ask(store, "1", "one", key=GROUP)
    await answer(store, "eins", "m1")
    await overhear(store, "2")
    await leave(store)
    for event_id in ("1", "2"):
        assert (await ask(store, event_id, "again", key=GROUP)).duplicate
        assert not (await store.receive(edited(event_id, "edited", key=GROUP), Triage.PENDING)).work
        await store.receive(deleted(event_id, key=GROUP), Triage.PENDING)
    await store.receive(pressed("p1", ActionName.RETRY, "m1", key=GROUP), Triage.PENDING)
    assert await store.pending() == 0
    assert (await store.export("discord", "ann")).data["conversations"] == []


async def test_who_invites_it_again_begins_anew_and_a_repeated_event_removes_nothing(store: SqlStore) -> None:
    await ask(store, "1", "one", key=GROUP)
    await answer(store, "eins")
    await leave(store)
    await ask(store, "2", "two", key=GROUP, by=BEN)
    _, tip = await answer(store, "zwei")
    assert await leave(store) == Received(duplicate=True)
    assert await texts(store, tip) == ["two", "zwei"]
    assert await leave(store, "left-2") == Received()
    assert await store.history(tip) == []


async def test_of_a_chat_in_which_nothing_was_said_there_is_nothing_to_remove(store: SqlStore) -> None:
    assert await leave(store, key=CHAT) == Received()
    assert await leave(store, key=CHAT) == Received(duplicate=True)
    assert (await ask(store, "1")).work


async def test_a_person_who_blocks_the_bot_leaves_nothing_but_counters(store: SqlStore) -> None:
    await ask(store, "1", "one")
    await answer(store, "eins", "m1")
    await leave(store, key=CHAT)
    data = (await store.export("telegram", "ann")).data
    assert data["conversations"] == []
    assert await store.usage() == data["usage"]
    assert await store.find_conversation(CHAT) is None


async def test_sqlite_keeps_no_byte_of_it(tmp_path: Path) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    key = replace(GROUP, chat="plugh")
    for number in range(50):
        await ask(store, str(number), f"xyzzy {number} " * 50, key=key)
        await answer(store, "xyzzy " * 50, f"m{number}")
    await store.receive(left(key=key), Triage.PENDING)
    await store.aclose()
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert [path for path in files if b"xyzzy" in path.read_bytes() or b"plugh" in path.read_bytes()] == []


async def test_what_was_sent_while_it_left_is_nobodys(store: SqlStore) -> None:
    await ask(store, "1", key=GROUP)
    claim = await claimed(store)
    await leave(store)
    with pytest.raises(LeaseLost):
        await send(store, claim, "m1")
    assert await store.find_sent(GROUP, MessageRef(GROUP, "m1").message_id) is None
