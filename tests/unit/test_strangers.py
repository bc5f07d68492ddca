"""Who is let in by the code, what strangers are told, and how little they can make the bot do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.config import Config
from bot.messages import Author, Edited, Message
from bot.strangers import KNOWN, WELCOME, WORDS_A_MINUTE, Rarely, Strangers
from storage.store import SqlStore
from tests.house import ADA, BEA, configuration, place

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HELLO = Message(key=place(), event_id="1", author=BEA, text="hello", sent_at=NOW, direct=True)
GROUP = replace(HELLO, direct=False, addressed=True, key=place("-100"))
CODE = "open-sesame"
WORD = "I do not know you yet. My owner can let you in with this id: memory:2"
WORD_IN_GROUPS = (
    "I do not know you here yet. My owner can let in you alone with the id memory:2, or everybody in this chat with "
    "memory:chat/-100"
)


class Door:
    """Strangers, what they are told, and the time."""

    def __init__(self, store: SqlStore) -> None:
        self.now = 0.0
        self.config = configured()
        self.told: list[str] = []
        self.store = store
        self.strangers = Strangers(store, lambda _, words: self.told.append(words), lambda: self.now)

    async def hear(self, event: Message) -> bool:
        """Whether a message goes further."""
        paired = await self.strangers.paired(self.config, event)
        return not await self.strangers.keep_out(self.config, event, paired=paired)


def configured(**permissions: object) -> Config:
    """A configuration that knows Ada alone."""
    return configuration(permissions={"allow": ["memory:1"]} | permissions)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    yield Door(store)
    await store.aclose()


# The word


async def test_a_stranger_is_told_once_an_hour(door: Door) -> None:
    for _ in range(10):
        assert not await door.hear(HELLO)
    assert door.told == [WORD]
    door.now = 3599.0
    await door.hear(HELLO)
    assert door.told == [WORD]
    door.now = 3600.0
    await door.hear(HELLO)
    assert door.told == [WORD, WORD]


async def test_in_a_group_once_an_hour_whoever_speaks_and_only_if_the_bot_is_meant(door: Door) -> None:
    assert not await door.hear(replace(GROUP, addressed=False))
    assert door.told == []
    for author in (BEA, Author("3", "Eve"), Author("4", "Dan")):
        assert not await door.hear(replace(GROUP, author=author))
    assert door.told == [WORD_IN_GROUPS]
    await door.hear(replace(GROUP, key=place("-101")))
    assert len(door.told) == 2


async def test_who_may_talk_is_told_nothing(door: Door) -> None:
    assert await door.hear(replace(HELLO, author=ADA))
    assert door.told == []


@pytest.mark.parametrize("entry", ["memory:2", "memory:chat/chat", "memory:*"])
async def test_who_is_denied_is_told_nothing_and_not_let_in(door: Door, entry: str) -> None:
    door.config = configured(deny=[entry], pairing_code=CODE)
    for text in ("hello", CODE):
        await door.hear(replace(HELLO, text=text))
    assert door.told == []
    assert not await door.store.is_paired("memory", "2")


async def test_other_bots_are_told_nothing_and_not_let_in(door: Door) -> None:
    """Two bots that told each other so would go on for ever."""
    door.config = configured(pairing_code=CODE)
    bot = Author("9", "Other", is_bot=True)
    for event in (HELLO, GROUP, replace(HELLO, text=CODE)):
        await door.hear(replace(event, author=bot))
    assert door.told == []
    assert not await door.store.is_paired("memory", "9")


async def test_an_owner_chooses_the_words_or_none(door: Door) -> None:
    door.config = configured(stranger_word="{id} {chat} {id}", stranger_word_in_groups="")
    await door.hear(HELLO)
    await door.hear(GROUP)
    assert door.told == ["memory:2 memory:chat/chat memory:2"]
    door.config = configured(stranger_word="")
    await door.hear(replace(HELLO, author=Author("3", "Eve")))
    assert len(door.told) == 1


async def test_many_strangers_are_told_no_more_than_so_much_a_minute(door: Door) -> None:
    for number in range(1000):
        door.now += 0.05
        await door.hear(replace(HELLO, author=Author(f"n{number}", "N")))
    assert len(door.told) == WORDS_A_MINUTE
    door.now += 60.0
    await door.hear(HELLO)
    assert len(door.told) == WORDS_A_MINUTE + 1


async def test_nothing_of_what_strangers_say_is_looked_up_that_is_not_heard_in_any_case(tmp_path: Path) -> None:
    reads: list[str] = []
    store = await SqlStore.open(
        f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}",
        default_retention_days=30,
        measured=lambda kind, _, __: reads.append(kind),
    )
    door = Door(store)
    await door.hear(replace(GROUP, addressed=False))
    await door.hear(replace(HELLO, author=ADA))
    assert reads == []
    await door.hear(HELLO)
    assert reads == ["read"]
    await store.aclose()


def test_what_is_done_rarely_is_remembered_for_an_hour_and_no_longer() -> None:
    now = 0.0
    rarely = Rarely(1, 20, lambda: now)
    for number in range(100_000):
        now = number / 10
        rarely.admit(str(number))
    assert len(rarely._hour) <= 20 * 61
    assert len(rarely._counts) == len(rarely._hour)
    now += 3600.0
    assert rarely.admit("1")
    assert (len(rarely._hour), len(rarely._counts)) == (1, 1)


# The code


@pytest.mark.parametrize("text", [CODE, f" {CODE}\n", f"/start {CODE}", f"/start@hearth_bot {CODE}"])
async def test_with_the_code_a_stranger_is_let_in(door: Door, text: str) -> None:
    door.config = configured(pairing_code=CODE)
    assert not await door.hear(replace(HELLO, text=text))
    assert door.told == [WELCOME]
    assert await door.hear(HELLO)
    assert await door.hear(GROUP)
    assert not await door.hear(replace(HELLO, author=Author("3", "Eve")))


@pytest.mark.parametrize(
    "text", [f"{CODE}!", f"the code is {CODE}", CODE.upper(), CODE[:-1], "/start", f"/stop {CODE}"]
)
async def test_nothing_else_is_the_code(door: Door, text: str) -> None:
    door.config = configured(pairing_code=CODE)
    assert not await door.hear(replace(HELLO, text=text))
    assert door.told == [WORD]
    assert not await door.store.is_paired("memory", "2")


async def test_in_a_group_the_code_lets_nobody_in(door: Door) -> None:
    """Everybody there would have read it."""
    door.config = configured(pairing_code=CODE)
    await door.hear(replace(GROUP, text=CODE))
    assert not await door.store.is_paired("memory", "2")


async def test_without_a_code_nobody_is_let_in(door: Door) -> None:
    for text in ("", CODE, "/start "):
        await door.hear(replace(HELLO, text=text))
    assert not await door.store.is_paired("memory", "2")


async def test_five_tries_an_hour_then_the_right_code_does_not_count_either(door: Door) -> None:
    door.config = configured(pairing_code=CODE)
    for number in range(5):
        await door.hear(replace(HELLO, text=f"wrong-{number:04}"))
        door.now += 60.0
    assert not await door.hear(replace(HELLO, text=CODE))
    assert door.told == [WORD]
    door.now = 3600.0
    await door.hear(replace(HELLO, text=CODE))
    assert door.told[-1] == WELCOME


async def test_who_talks_before_the_code_has_not_tried_it(door: Door) -> None:
    """Short words and sentences cannot be the code."""
    door.config = configured(pairing_code=CODE)
    for text in ("hi", "hello?", "Is anybody there?", "/help", "please let me in", "why", "?"):
        await door.hear(replace(HELLO, text=text))
    await door.hear(replace(HELLO, text=CODE))
    assert door.told == [WORD, WELCOME]


async def test_many_who_try_together_have_so_many_tries_a_minute(door: Door) -> None:
    door.config = configured(pairing_code=CODE)
    for number in range(10):
        await door.hear(replace(HELLO, text="wrong-code", author=Author(f"n{number}", "N")))
    assert not await door.hear(replace(HELLO, text=CODE))
    assert not await door.store.is_paired("memory", "2")
    door.now += 60.0
    await door.hear(replace(HELLO, text=CODE))
    assert await door.store.is_paired("memory", "2")


async def test_the_code_is_no_question_of_those_who_are_in_either(door: Door) -> None:
    """Sent again, or read back after a pause: it is not passed on, so that it is not kept."""
    door.config = configured(pairing_code=CODE)
    await door.hear(replace(HELLO, text=CODE))
    for author in (BEA, BEA, ADA):
        assert not await door.hear(replace(HELLO, text=f"/start {CODE}", author=author))
    assert door.told == [WELCOME, KNOWN, KNOWN]
    assert await door.hear(replace(HELLO, text="wrong-code", author=ADA))
    assert await door.hear(replace(GROUP, text=CODE, author=ADA))


async def test_who_was_let_in_and_is_denied_is_out(door: Door) -> None:
    door.config = configured(pairing_code=CODE)
    await door.hear(replace(HELLO, text=CODE))
    door.config = configured(deny=["memory:2"], pairing_code=CODE)
    assert not await door.strangers.paired(door.config, HELLO)
    edited = Edited(key=place(), event_id="1", revision=2, author=BEA, text="x", sent_at=NOW)
    assert not await door.strangers.paired(door.config, edited)


async def test_who_was_let_in_stays_in_without_a_code(door: Door) -> None:
    door.config = configured(pairing_code=CODE)
    await door.hear(replace(HELLO, text=CODE))
    door.config = configured()
    assert await door.hear(HELLO)
