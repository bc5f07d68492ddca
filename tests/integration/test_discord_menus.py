"""What can be done with a message on Discord, by the menu on it; and long code as a file behind its answer."""

from __future__ import annotations

import pytest

from adapters.discord import interactions
from bot.testing import ScriptedEngine
from tests import coding, speech
from tests.discord_fake import Channel
from tests.discord_house import Ferns


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said at all is said at once, however slow this machine is."""
    monkeypatch.setattr(interactions, "DEFER_SECONDS", 60.0)


async def test_the_talk_goes_on_from_a_message(ferns: Ferns) -> None:
    async with ferns.house() as h:
        titles = {command["name"] for command in h.server.world.scene.commands if command["type"] == 3}
        assert titles == {"Continue from here", "Summarise up to here", "Transcribe"}
        ferns.general.say(ferns.ada, "moss", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: moss")
        ferns.general.say(ferns.bea, "lichen", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: moss", "You said: Bea: lichen")
        first = ferns.general.from_bot[0]
        refused = ferns.general.menu(ferns.bea, "Continue from here", first)
        await h.told(refused, "In a group you can go on from your own messages and my answers to them.")
        assert refused.ephemeral
        used = ferns.general.menu(ferns.ada, "Continue from here", first)
        await h.told(used, "The conversation goes on from here: You said: Ada: moss")
        ferns.general.say(ferns.bea, "what was it?", mention=ferns.bot)
        await h.server.wait_for(lambda: "You said: Bea: what was it?" in ferns.general.texts_of_bot(), "the answer")
        assert "Ada: moss" in h.prompts()[-1]
        assert "lichen" not in h.prompts()[-1]


async def test_what_was_said_up_to_a_message_is_summarised(ferns: Ferns) -> None:
    async with ferns.house() as h:
        question = ferns.general.say(ferns.ada, "moss", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: moss")
        ferns.general.say(ferns.bea, "lichen", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: moss", "You said: Bea: lichen")
        for message in (ferns.general.from_bot[0], question):
            used = ferns.general.menu(ferns.bea, "Summarise up to here", message)
            await h.server.wait_for(lambda: used.texts, "the summary")  # noqa: B023
            await h.settled()
            assert "Ada: moss" in h.prompts()[-1]
            assert "lichen" not in h.prompts()[-1]
        assert len(h.prompts()) == 4


async def test_a_recording_of_anybody_is_written_down(ferns: Ferns) -> None:
    """Also one that was not meant for the bot."""
    async with ferns.house() as h:
        spoken = ferns.general.voice(ferns.bea, speech.opus("what is my name"), duration=2.0)
        talk = ferns.general.say(ferns.bea, "hello")
        used = ferns.general.menu(ferns.ada, "Transcribe", spoken)
        await h.server.wait_for(lambda: used.texts, "the words")
        await h.settled()
        assert "what is my name" in used.texts[0]
        assert h.prompts() == []
        nothing = ferns.general.menu(ferns.ada, "Transcribe", talk)
        await h.told(nothing, "There is no recording in that. Reply with /transcribe to a message that has one.")


# Code


def standing(channel: Channel) -> list[str]:
    """The texts of the bot's messages, and the names of their files."""
    return [part for sent in channel.from_bot for part in (*sent.texts, *(one["filename"] for one in sent.attachments))]


async def test_long_code_comes_as_a_file_and_goes_with_a_new_answer(ferns: Ferns) -> None:
    async with ferns.house(engine=ScriptedEngine(coding.answers), chat={"code_file_lines": coding.LINES}) as h:
        asked = ferns.general.say(ferns.ada, "code, please", mention=ferns.bot)
        await h.server.wait_for(lambda: standing(ferns.general) == [coding.SEE_FILE, "code.py"], "the file")
        await h.settled()
        (file,) = ferns.general.from_bot[-1].attachments
        assert h.server.world.scene.files[int(file["id"])].content.decode() == coding.CODE
        ferns.general.edit(asked, f"{ferns.bot.mention} hello")
        await h.server.wait_for(lambda: standing(ferns.general) == ["You said: Ada: hello"], "the other answer")
        await h.settled()


async def test_an_answer_by_a_command_has_its_code_in_a_file_too(ferns: Ferns) -> None:
    async with ferns.house(engine=ScriptedEngine(coding.answers), chat={"code_file_lines": coding.LINES}) as h:
        ferns.general.command(ferns.ada, "ask", text="code, please")
        await h.server.wait_for(lambda: standing(ferns.general) == [coding.SEE_FILE, "code.py"], "the file")
        await h.settled()
