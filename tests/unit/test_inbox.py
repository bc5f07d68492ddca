"""Receive: triaged, committed once, and only then passed on."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.config import Config
from bot.errors import DatabaseError
from bot.inbox import Inbox
from bot.messages import Action, ActionName, AnswerState, Author, Deleted, Edited, Event, Message
from bot.ports import Received
from storage.store import SqlStore
from tests.house import ADA, BEA, configuration, place

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HELLO = Message(key=place(), event_id="1", author=ADA, text="hello", sent_at=NOW, direct=True)


class Hall:
    """An inbox with a note of what it passed on."""

    def __init__(self, store: SqlStore, config: Config) -> None:
        self.store = store
        self.passed: list[tuple[Event, Received]] = []
        self.words: list[tuple[str, str]] = []
        self.announced: list[int] = []
        """How much was passed on when something was announced."""
        self.inbox = Inbox(
            store,
            lambda: config,
            lambda: self.announced.append(len(self.passed)),
            lambda event, received: self.passed.append((event, received)),
            lambda event, words: self.words.append((event.event_id, words)),
        )

    async def receive(self, *events: Event) -> None:
        for event in events:
            await self.inbox.receive(event)


async def hall(folder: Path, config: Config | None = None) -> Hall:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{folder / 'hearth.db'}", default_retention_days=30)
    return Hall(store, config or configuration())


async def test_what_is_passed_on_is_committed(tmp_path: Path) -> None:
    h = await hall(tmp_path)
    await h.receive(HELLO)
    assert [(event, received.work) for event, received in h.passed] == [(HELLO, True)]
    assert await h.store.pending() == 1
    await h.store.aclose()


async def test_what_may_have_to_be_answered_is_announced_before_it_is_committed(tmp_path: Path) -> None:
    h = await hall(tmp_path, configuration(chat={"remember_group_talk": True}))
    talk = replace(HELLO, key=place("group"), event_id="2", direct=False)
    await h.receive(HELLO, talk, replace(HELLO, event_id="3"))
    assert len(h.passed) == 3
    assert h.announced == [0, 2]
    await h.store.aclose()


async def test_a_repeated_message_is_passed_on_once(tmp_path: Path) -> None:
    h = await hall(tmp_path)
    await h.receive(HELLO, HELLO, replace(HELLO, text="other words, same event"))
    assert len(h.passed) == 1
    assert await h.store.pending() == 1
    await h.store.aclose()


async def test_strangers_bots_and_unaddressed_talk_are_not_stored(tmp_path: Path) -> None:
    h = await hall(tmp_path, configuration(permissions={"allow": ["memory:1"]}))
    await h.receive(
        replace(HELLO, author=BEA),
        replace(HELLO, author=Author("3", "Other", is_bot=True), event_id="2"),
        replace(HELLO, direct=False, event_id="3"),
        Action(key=place(), event_id="4", author=BEA, name=ActionName.RETRY, sent_at=NOW),
    )
    assert h.passed == []
    assert (await h.store.export("memory", BEA.id)).data["conversations"] == []
    await h.store.aclose()


async def test_a_typed_stop_is_no_question(tmp_path: Path) -> None:
    h = await hall(tmp_path)
    await h.receive(replace(HELLO, text="/stop"))
    ((event, _),) = h.passed
    assert isinstance(event, Action)
    assert await h.store.pending() == 0
    await h.store.aclose()


async def test_a_stop_that_is_repeated_does_not_stop_what_came_after_it(tmp_path: Path) -> None:
    h = await hall(tmp_path)
    stop = replace(HELLO, text="/stop")
    await h.receive(stop, stop)
    assert len(h.passed) == 1
    await h.store.aclose()


async def test_in_a_group_a_stop_for_another_bot_is_ordinary_talk(tmp_path: Path) -> None:
    h = await hall(tmp_path)
    stop = replace(HELLO, text="/stop@otherbot", direct=False)
    await h.receive(stop)
    assert h.passed == []
    await h.receive(replace(stop, text="/stop", addressed=True, event_id="2"))
    assert [type(event) for event, _ in h.passed] == [Action]
    await h.store.aclose()


async def test_what_names_the_bot_or_is_said_where_all_is_answered_is_a_question(tmp_path: Path) -> None:
    groups = {"names": ["hearth"], "always": ["memory:chat/room"]}
    h = await hall(tmp_path, configuration(groups=groups))
    said = replace(HELLO, direct=False)
    await h.receive(said, replace(said, event_id="2", text="Hearth?"), replace(said, event_id="3", key=place("room")))
    assert [(event.event_id, received.work) for event, received in h.passed] == [("2", True), ("3", True)]
    await h.receive(replace(said, event_id="4", key=place("room"), text="/stop"))
    assert isinstance(h.passed[-1][0], Action)
    await h.store.aclose()


async def test_an_edit_of_one_who_may_not_talk_any_more_is_not_answered(tmp_path: Path) -> None:
    h = await hall(tmp_path)
    await h.receive(HELLO)
    claim = await h.store.claim("worker", lease=60)
    assert claim is not None
    await h.store.close(claim, AnswerState.FAILED, None)
    denied = Hall(h.store, configuration(permissions={"deny": ["memory:1"]}))
    await denied.receive(Edited(key=place(), event_id="1", revision=5, author=ADA, text="hi", sent_at=NOW))
    assert await h.store.pending() == 0
    found = await h.store.find_sent(place(), "1")
    assert found is not None
    assert found.text == "hi"
    await h.store.aclose()


async def test_changes_are_passed_on_with_what_they_supersede(tmp_path: Path) -> None:
    h = await hall(tmp_path)
    await h.receive(HELLO)
    claim = await h.store.claim("worker", lease=60)
    assert claim is not None
    edited = Edited(key=place(), event_id="1", revision=5, author=ADA, text="hi", sent_at=NOW)
    await h.receive(edited, edited, Deleted(key=place(), event_id="1", sent_at=NOW))
    assert h.passed[1][1].superseded == (claim.id,)
    assert len(h.passed) == 3
    assert await h.store.pending() == 0
    await h.store.aclose()


async def test_what_the_database_refuses_is_not_passed_on(tmp_path: Path) -> None:
    """The adapter learns of it and does not acknowledge the event."""

    class Full(SqlStore):
        async def receive(self, event: Event, triage: object) -> Received:
            raise DatabaseError("the disk is full")

    store = await Full.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    h = Hall(store, configuration())
    with pytest.raises(DatabaseError):
        await h.receive(HELLO)
    assert h.passed == []
    await store.aclose()
