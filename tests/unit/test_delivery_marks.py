"""Delivery: a line under an answer that is over."""

from __future__ import annotations

import pytest

from adapters.text import split
from bot.errors import MessageGone
from bot.messages import Button, MessageRef, Outgoing
from bot.ports import Mark
from tests.staging import CHAT, Stage, a_claim, done

LINE = "_(Gone.)_"


async def mark(stage: Stage, text: str) -> None:
    """Mark what stands."""
    parts = tuple(posted.ref for posted in stage.platform.messages)
    work = stage.delivery.mark(stage.delivery.paced(stage.platform), Mark(parts=parts, text=text), LINE)
    await stage.time.run(work)


async def answered(text: str) -> Stage:
    """An answer with its button."""
    stage = Stage(buttons=True)
    await stage.deliver(a_claim(5), done(text))
    [button] = stage.platform.messages[-1].now.buttons
    assert button == Button("retry:5", "Retry")
    return stage


async def test_a_line_is_put_under_an_answer_and_its_buttons_go() -> None:
    stage = await answered("Hello")
    await mark(stage, "Hello")
    assert [(what.text, what.buttons) for what in stage.platform.standing(CHAT)] == [(f"Hello\n\n{LINE}", ())]


async def test_of_several_messages_only_the_last_is_edited() -> None:
    text = "word " * 30 + "end"
    stage = await answered(text)
    first, last = split(text, 100, len)
    await mark(stage, text)
    assert stage.texts() == [first, f"{last}\n\n{LINE}"]
    assert len(stage.platform.messages[0].states) == 1


async def test_where_the_line_does_not_fit_only_the_buttons_go() -> None:
    stage = await answered("x" * 95)
    await mark(stage, "x" * 95)
    assert [(what.text, what.buttons) for what in stage.platform.standing(CHAT)] == [("x" * 95, ())]


async def test_an_answer_that_stands_otherwise_than_is_known_is_left_alone() -> None:
    """Nothing of it is to be lost."""
    stage = await answered("word " * 30)
    await mark(stage, "something else")
    assert [len(posted.states) for posted in stage.platform.messages] == [1, 1]


async def test_a_text_that_the_platform_cannot_parse_is_marked_plain() -> None:
    stage = await answered("Hello")
    stage.platform.unparsable = lambda _: True
    await mark(stage, "Hello")
    assert stage.platform.standing(CHAT) == [Outgoing(text=f"Hello\n\n{LINE}", plain=True)]


async def test_what_the_platform_says_about_it_is_raised() -> None:
    stage = Stage()
    gone = Mark(parts=(MessageRef(CHAT, "9"),), text="Hello")
    with pytest.raises(MessageGone):
        await stage.time.run(stage.delivery.mark(stage.platform, gone, LINE))
