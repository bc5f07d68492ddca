"""Going on from another answer to the same question: the button, what it does, what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.messages import ActionName, Author, Limits
from bot.testing import MemoryAdapter, ScriptedEngine
from tests.house import ADA, BEA, House, configuration, house, place, until

OWNER = Author("9", "Owner")
NUMBERED = ("first", "second", "third")


def buttons() -> MemoryAdapter:
    return MemoryAdapter(limits=Limits(text=2000, seconds_per_call=0.0, buttons=True, private_answers=True))


def numbered() -> ScriptedEngine:
    """Each answer is another one."""
    answers = iter(NUMBERED)
    return ScriptedEngine(answer=lambda _: next(answers))


async def press(h: House, label: str, message: int, author: Author = ADA) -> None:
    """Press a button under one of the bot's messages, and wait for what is said."""
    posted = h.platform.messages[message]
    [button] = [button.id for button in posted.now.buttons if button.label == label]
    await h.press(ActionName(button.partition(":")[0]), posted.ref.message_id, author=author)
    await h.settled()
    await until(lambda: not h.dispatcher._control.tasks, "the press to take effect")


async def end_of_line(h: House) -> str:
    return (await h.line())[-1][1]


async def test_the_talk_goes_on_from_the_other_answer_and_back(tmp_path: Path) -> None:
    async with house(tmp_path, platform=buttons(), engine=numbered()) as h:
        await h.ask("tell me")
        await press(h, "Retry", 0)
        assert await end_of_line(h) == "second"
        edits = len([call for call in h.platform.calls if call.kind == "edit"])
        await press(h, "Other answer", 1)
        assert await end_of_line(h) == "first"
        said = h.platform.messages[-1]
        assert said.now.text == "The conversation goes on from this answer: first"
        assert said.now.notice
        assert said.reply_to == h.platform.messages[1].ref.message_id
        assert len([call for call in h.platform.calls if call.kind == "edit"]) == edits, "nothing is edited"
        assert await h.ask("and now?") == "third"
        assert "<|im_start|>assistant\nfirst<|im_end|>" in h.prompts()[-1]


async def test_it_works_after_a_restart(tmp_path: Path) -> None:
    platform = buttons()
    async with house(tmp_path, platform=platform, engine=numbered()) as h:
        await h.ask("tell me")
        await press(h, "Retry", 0)
    async with house(tmp_path, platform=platform) as h:
        await press(h, "Other answer", 1)
        assert await end_of_line(h) == "first"


async def test_while_an_answer_is_made_it_is_refused_with_a_word(tmp_path: Path) -> None:
    async with house(tmp_path, platform=buttons(), engine=numbered()) as h:
        await h.ask("tell me")
        await press(h, "Retry", 0)
        h.engine.stall_after = 2
        await h.say("more")
        await until(lambda: h.engine.active == 1, "the answer")
        await h.press(ActionName.BRANCH, h.platform.messages[1].ref.message_id)
        await until(lambda: any("is being made" in text for text in h.texts()), "the word")
        h.engine.resume.set()
        await h.settled()
        assert await end_of_line(h) == "third"


@pytest.mark.parametrize(("author", "end"), [(BEA, "second"), (OWNER, "first"), (ADA, "first")])
async def test_in_a_group_it_is_for_who_asked_and_for_owners(tmp_path: Path, author: Author, end: str) -> None:
    config = configuration(permissions={"admins": ["memory:9"]})
    async with house(tmp_path, config, platform=buttons(), engine=numbered()) as h:
        await h.ask("tell me", group=True)
        await press(h, "Retry", 0)
        await press(h, "Other answer", 1, author)
        assert await end_of_line(h) == end
        refused = "Only who asked, or an owner of this bot, can go on from another answer."
        assert (h.texts()[-1] == refused) is (author == BEA)


async def test_a_press_that_is_told_twice_says_nothing_twice(tmp_path: Path) -> None:
    async with house(tmp_path, platform=buttons(), engine=numbered()) as h:
        await h.ask("tell me")
        await press(h, "Retry", 0)
        await press(h, "Other answer", 1)
        assert len(h.platform.standing(place())) == 3
        await h.press(ActionName.BRANCH, "404")
        await until(lambda: len(h.platform.standing(place())) == 4, "the word")
        assert h.texts()[-1] == "There is no other answer to that question any more."
