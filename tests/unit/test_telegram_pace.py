"""How often Telegram is called: never more often than a chat takes, and a flooded chat slows no other. In virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from adapters.telegram.adapter import Telegram
from bot.config import Config, TelegramConfig
from bot.errors import FloodWait, Unreachable
from bot.messages import ConversationKey, Limits, Preview, Text
from bot.testing import Fault
from tests.staging import Stage, Step, a_claim, done, in_group

TEN, MINUTE = 10.0, 60.0
LATE = 0.3
"""Seconds by which one call may be slower on its way to Telegram than the next: both count when they arrive."""
WORDS = "Twelve words of an answer that comes at the pace of a model. "


@pytest.fixture
async def limits() -> Limits:
    """Those of a bot that nobody has configured otherwise."""
    return Telegram(TelegramConfig.model_validate({"token": f"1:{'x' * 35}"})).limits


def stage_with(limits: Limits) -> Stage:
    stage = Stage()
    stage.platform.limits = limits
    return stage


def streamed(paragraphs: int = 40) -> list[Step]:
    """An answer of 20 seconds that fills four messages."""
    paragraph = WORDS * 5 + "\n\n"
    steps = [step for _ in range(paragraphs) for step in (0.5, Text(paragraph))]
    return [*steps, done((paragraph * paragraphs).strip())]


def at_once(number: int) -> list[Step]:
    """An answer that is there at once, as a command's is."""
    return [done(f"Answer {number}.")]


def key(thread: str = "") -> ConversationKey:
    return ConversationKey("telegram", "1", "chat", thread)


def sent(stage: Stage, chat: str = "chat") -> list[float]:
    """When a chat was called, drafts and signs apart: a deletion too, although Telegram may not count it."""
    return [call.at for call in stage.platform.calls if call.kind != "show" and call.key.chat == chat]


def most(times: list[float], seconds: float) -> int:
    """The most calls in any so many seconds."""
    return max(sum(begin <= time < begin + seconds for time in times) for begin in times)


async def one_after_the_other(stage: Stage, *answers: list[Step], thread: str = "", group: bool = False) -> None:
    for number, steps in enumerate(answers, 1):
        claim = a_claim(number, key(thread))
        await stage.start(in_group(claim) if group else claim, *steps)


async def test_the_defaults_are_those_of_the_configuration(limits: Limits) -> None:
    assert Config().telegram.private_pace == limits.seconds_per_call
    assert Config().telegram.group_pace == limits.group_seconds_per_call
    assert limits.previews


@pytest.mark.parametrize("previews", [True, False], ids=["drafts", "edits"])
async def test_a_private_chat_gets_ten_calls_in_ten_seconds_at_most(limits: Limits, previews: bool) -> None:
    """Long answers, then many short ones, then long ones again."""
    stage = stage_with(replace(limits, previews=previews))
    answers = [streamed(), streamed(), *(at_once(n) for n in range(40)), streamed()]
    await stage.time.run(one_after_the_other(stage, *answers))
    times = sent(stage)
    assert len(times) > 40
    assert most(times, TEN + LATE) <= 10
    drafts = [call for call in stage.platform.calls if isinstance(call.what, Preview)]
    assert (len(drafts) > 30) is previews
    assert len(stage.platform.messages) == 3 * 4 + 40


async def test_a_group_gets_ten_calls_in_ten_seconds_and_twenty_in_a_minute_at_most(limits: Limits) -> None:
    """In two topics at once: Telegram counts the chat."""
    stage = stage_with(limits)

    async def both() -> None:
        answers = [streamed(), *(at_once(n) for n in range(20)), streamed()]
        await asyncio.gather(
            *(one_after_the_other(stage, *answers, thread=thread, group=True) for thread in ("one", "two"))
        )

    await stage.time.run(both())
    times = sent(stage)
    assert len(times) > 60
    assert most(times, TEN + LATE) <= 10
    assert most(times, MINUTE + LATE) <= 20
    assert len(stage.platform.messages) == 2 * (2 * 4 + 20)


@pytest.mark.parametrize("group", [False, True])
async def test_calls_that_fail_count_too(limits: Limits, group: bool) -> None:
    stage = stage_with(replace(limits, previews=False))
    stage.platform.unparsable = lambda text: len(text) % 3 == 0  # it is sent again, plain
    for _ in range(4):
        faults = [Fault(Unreachable("502")), Fault(FloodWait(5)), Fault(Unreachable("lost"), after=True)]
        stage.platform.faults = [*faults, *faults]
        await stage.time.run(one_after_the_other(stage, streamed(), group=group))
    times = sent(stage)
    assert stage.platform.faults == []
    assert most(times, TEN + LATE) <= 10
    assert not group or most(times, MINUTE + LATE) <= 20


async def test_a_chat_that_must_wait_a_minute_delays_no_other(limits: Limits) -> None:
    """Every call of the others comes at the very instant at which it comes when nobody is flooded."""

    async def others(*faults: Fault) -> tuple[dict[str, list[float]], list[float]]:
        stage = stage_with(limits)
        stage.platform.faults = list(faults)
        chats = [f"chat{number}" for number in range(10)]
        claims = [a_claim(n, ConversationKey("telegram", "1", chat)) for n, chat in enumerate(chats, 2)]
        claims = [in_group(claim) if claim.id % 2 else claim for claim in claims]
        flooded = in_group(a_claim(1, key()))
        await stage.time.run(
            asyncio.gather(*(stage.start(claim, *streamed()) for claim in [flooded, *claims]))  # type: ignore[arg-type]
        )
        return {chat: sent(stage, chat) for chat in chats}, sent(stage)

    undisturbed, _ = await others()
    beside, times = await others(Fault(FloodWait(MINUTE), chat="chat"))
    assert beside == undisturbed
    assert all(len(calls) > 2 for calls in beside.values())
    assert times[1] - times[0] == MINUTE
