"""A question that is deleted on its platform: its answer stays, and says that its question is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.errors import FloodWait, MessageGone, PlatformError, Unreachable
from bot.messages import Limits, Role
from bot.testing import MemoryAdapter
from bot.testing_platform import Fault
from tests.house import House, house, place, until

LINE = "_(The question was deleted.)_"


def buttons() -> MemoryAdapter:
    return MemoryAdapter(limits=Limits(text=2000, seconds_per_call=0.0, buttons=True))


async def marked(h: House) -> None:
    """Return when all that was to be marked is."""
    await until(lambda: not h.dispatcher._control.tasks, "the marks")


async def test_the_answer_of_a_deleted_question_stays_and_is_marked(tmp_path: Path) -> None:
    async with house(tmp_path, platform=buttons()) as h:
        event = await h.say("my name is Ada", group=True)
        await h.settled()
        await h.delete(event)
        await marked(h)
        [shown] = h.platform.standing(place())
        assert (shown.text, shown.buttons) == (f"You said: Ada: my name is Ada\n\n{LINE}", ())
        assert await h.line() == [(Role.ASSISTANT, "You said: Ada: my name is Ada")]
        await h.ask("and now?", group=True)
        assert LINE not in h.prompts()[-1], "the model does not learn it as its own words"


async def test_many_deletions_mark_each_answer(tmp_path: Path) -> None:
    async with house(tmp_path, platform=buttons()) as h:
        events = []
        for word in ("one", "two", "three"):
            events.append(await h.say(word))
            await h.settled()
        for event in events:
            await h.delete(event)
        await marked(h)
        assert h.texts() == [f"You said: {word}\n\n{LINE}" for word in ("one", "two", "three")]


@pytest.mark.parametrize("error", [FloodWait(0.01), Unreachable("timed out")])
async def test_a_platform_that_is_away_for_a_moment_is_told_later(tmp_path: Path, error: PlatformError) -> None:
    async with house(tmp_path, platform=buttons()) as h:
        event = await h.say("one")
        await h.settled()
        h.platform.faults.append(Fault(error, kind="edit"))
        await h.delete(event)
        await marked(h)
        assert h.texts() == [f"You said: one\n\n{LINE}"]


@pytest.mark.parametrize(("error", "logged"), [(MessageGone("unknown message"), False), (PlatformError("no"), True)])
async def test_an_answer_that_cannot_be_edited_is_let_be(tmp_path: Path, error: PlatformError, logged: bool) -> None:
    async with house(tmp_path, platform=buttons()) as h:
        event = await h.say("one")
        await h.settled()
        h.platform.faults.append(Fault(error, kind="edit"))
        with capture_logs() as logs:
            await h.delete(event)
            await marked(h)
        assert any(entry["log_level"] == "warning" for entry in logs) is logged
        assert h.texts() == ["You said: one"]


async def test_a_deleted_command_leaves_its_word_as_it_is(tmp_path: Path) -> None:
    async with house(tmp_path, platform=buttons()) as h:
        event = await h.say("/history")
        await h.settled()
        await h.delete(event)
        await marked(h)
        assert h.texts() == ["This conversation is empty."]
