"""History -> messages: what every template takes, and the same window as for token ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pytest

from bot.errors import BadRequest, TooLong
from bot.generation import ChatMessage, Size
from bot.messages import Role
from bot.prompt import MessageBuilder, Prompt, ToolCall, Turn
from bot.prompt.messages import shortened, without_system

DAY = date(2026, 3, 1)
SYSTEM, USER, BOT = Role.SYSTEM, Role.USER, Role.ASSISTANT


class Letters:
    """A model whose tokens are characters, and 10 around each message."""

    def __init__(self, context_length: int = 1000, *, exact: bool = True) -> None:
        self.context_length = context_length
        self.exact = exact
        self.asked = 0

    async def size(self, messages: Sequence[ChatMessage], *, enough: int) -> Size:
        self.asked += 1
        return Size(sum(len(message.content) + 10 for message in messages), self.exact)


async def build(turns: Sequence[Turn], engine: Letters | None = None, *, max_tokens: int = 200) -> Prompt:
    return await MessageBuilder(engine or Letters()).build(turns, day=DAY, max_tokens=max_tokens)


async def pairs(*turns: Turn) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in (await build(turns)).messages]


async def test_a_conversation_is_its_messages() -> None:
    turns = [Turn(SYSTEM, "Be brief."), Turn(USER, "hello"), Turn(BOT, "Hi.", token_ids=(1, 2)), Turn(USER, "why?")]
    prompt = await build(turns)
    assert prompt == Prompt(
        (),
        1,
        cut=False,
        messages=(
            ChatMessage("system", "Be brief."),
            ChatMessage("user", "hello"),
            ChatMessage("assistant", "Hi."),
            ChatMessage("user", "why?"),
        ),
        tokens=61,
    )
    assert prompt.length == 61


async def test_in_a_group_the_name_comes_before_the_words() -> None:
    assert await pairs(Turn(USER, "hi", "Ada: <b>\n")) == [("user", "Ada <b>: hi")]


async def test_neighbours_of_one_role_are_joined_and_a_user_speaks_first() -> None:
    assert await pairs(
        Turn(SYSTEM, "one"), Turn(Role.DEVELOPER, "two"), Turn(BOT, "a"), Turn(USER, "b", "Ada"), Turn(USER, "c", "Bea")
    ) == [("system", "one\n\ntwo"), ("user", "..."), ("assistant", "a"), ("user", "Ada: b\n\nBea: c")]


async def test_a_system_message_further_on_is_said_by_the_user() -> None:
    assert await pairs(Turn(USER, "a"), Turn(BOT, "b"), Turn(SYSTEM, "now in verse"), Turn(USER, "c")) == [
        ("user", "a"),
        ("assistant", "b"),
        ("user", "now in verse\n\nc"),
    ]


async def test_tools_of_the_history_are_told_as_text() -> None:
    calls = (ToolCall(name="add", arguments={"a": 1}, id="c1"),)
    assert await pairs(
        Turn(USER, "1+1?"), Turn(BOT, "", tool_calls=calls), Turn(Role.TOOL, "2", "add", tool_call_id="c1")
    ) == [
        ("user", "1+1?"),
        ("assistant", '{"name": "add", "arguments": {"a": 1}}'),
        ("user", "Result of add:\n2"),
    ]


async def test_new_tools_are_refused() -> None:
    with pytest.raises(BadRequest):
        await MessageBuilder(Letters()).build([Turn(USER, "a")], day=DAY, max_tokens=9, tools=[{"name": "add"}])


async def test_what_no_json_holds_is_replaced() -> None:
    assert await pairs(Turn(USER, "a\ud800b\0c\ufdd0")) == [("user", "a\ufffdb\ufffdc")]


def conversation(turns: int) -> list[Turn]:
    """A system message of 90 tokens, then turns of 90, the user's first; the room is 800, of which 720 may be filled."""
    return [Turn(SYSTEM, "s" * 80), *(Turn((USER, BOT)[i % 2], f"{i}".ljust(80, "x")) for i in range(turns))]


async def test_a_window_of_nine_tenths_stays_whole() -> None:
    prompt = await build(conversation(7))
    assert (prompt.length, prompt.turns_from, prompt.cut) == (720, 1, False)


async def test_a_fuller_one_is_cut_to_four_tenths_and_begins_with_the_user() -> None:
    prompt = await build(conversation(9))
    assert (prompt.length, prompt.turns_from, prompt.cut) == (180, 9, True)
    assert prompt.messages[0].content.startswith("sss")
    assert prompt.messages[1].role == "user"
    assert prompt.messages[-1].content.startswith("8")


async def test_what_was_cut_does_not_come_back() -> None:
    turns = conversation(9)
    first = await build(turns)
    kept = [turns[0], *turns[first.turns_from :]]
    second = await build([*kept, Turn(BOT, "yes"), Turn(USER, "and?")])
    assert not second.cut
    assert second.messages[: len(first.messages)] == first.messages


async def test_a_last_question_that_is_known_not_to_fit_is_too_long() -> None:
    with pytest.raises(TooLong):
        await build([Turn(USER, "x" * 2000)])


async def test_where_the_length_is_a_guess_the_server_has_the_last_word() -> None:
    prompt = await build([Turn(USER, "x" * 2000)], Letters(exact=False))
    assert prompt.length == 800
    assert len(prompt.messages[0].content) == 2000


async def test_what_cannot_fit_by_its_characters_is_not_even_counted() -> None:
    engine = Letters(exact=False)
    with pytest.raises(TooLong):
        await build([Turn(USER, "x" * 128_001)], engine)
    assert engine.asked == 0


async def test_a_long_conversation_is_counted_a_few_times() -> None:
    engine = Letters()
    prompt = await build(conversation(1001), engine)
    assert prompt.cut
    assert engine.asked <= 12


def messages(*contents: str) -> list[ChatMessage]:
    return [ChatMessage("user" if i % 2 == 0 else "assistant", content) for i, content in enumerate(contents)]


def test_messages_are_shortened_from_the_oldest_on_to_a_users() -> None:
    system = ChatMessage("system", "sys")
    long = [system, *messages("aaaa", "bbbb", "cccc", "dddd", "eeee")]
    kept = shortened(long, lambda message: len(message.content), 15)
    assert kept == (system, *long[3:])
    assert shortened(long, lambda message: len(message.content), 1) == (system, long[-1])
    assert shortened(long[:2], lambda message: len(message.content), 1) == tuple(long[:2])


def test_the_system_text_goes_into_the_first_users() -> None:
    assert without_system([ChatMessage("system", "s"), *messages("a", "b", "c")]) == (
        ChatMessage("user", "s\n\na"),
        ChatMessage("assistant", "b"),
        ChatMessage("user", "c"),
    )
