"""Commands about a message that they reply to: go on from it, summarise up to it, show what is said in its recording."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bot.errors import EngineTimeout
from bot.messages import ActionName, Attachment, Author, Limits
from bot.testing import MemoryAdapter, ScriptedEngine, ScriptedSpeech
from tests.house import ADA, BEA, House, configuration, house, question, until
from tests.integration.test_voice import NOTE, SAID, Phone, ears
from tests.recordings import RATE, encoded, silence

OWNER = Author("9", "Owner")
ASKED = "Summarise our conversation up to here, "
TEXT = Attachment(kind="file", name="notes.txt", media_type="text/plain", size=5, reference="text")


def sent(h: House, number: int) -> str:
    """The platform's id of one of the bot's messages."""
    return h.platform.messages[number].ref.message_id


async def words(h: House) -> list[str]:
    return [text for _, text in await h.line()]


async def talked(h: House, *texts: str, **how: Any) -> list[str]:
    """Ask some things; returns the platform's ids of the questions."""
    events = []
    for text in texts:
        events.append(await h.say(text, **how))
        await h.settled()
    return events


# Go on from here


async def test_the_conversation_goes_on_from_an_answer(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await talked(h, "one", "two", "three")
        said = await h.ask("/continue", reply_to=sent(h, 0))
        assert said == "The conversation goes on from here: You said: one"
        await h.ask("four")
        assert await words(h) == ["one", "You said: one", "four", "You said: four"]


async def test_or_from_a_question(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        [_, two, _] = await talked(h, "one", "two", "three")
        await h.ask("/continue", reply_to=two)
        assert await words(h) == ["one", "You said: one", "two"]


async def test_or_from_a_message_by_its_number(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await talked(h, "one", "two")
        number = (await h.store.history((await h.conversation()).head))[1].id
        await h.ask(f"/continue {number}")
        assert await words(h) == ["one", "You said: one"]


@pytest.mark.parametrize("how", [{}, {"reply_to": "404"}])
async def test_there_must_be_such_a_message(tmp_path: Path, how: dict[str, str]) -> None:
    async with house(tmp_path) as h:
        await talked(h, "one")
        assert (await h.ask("/continue", **how)).startswith("I find no such message.")
        assert await words(h) == ["one", "You said: one"]


async def test_a_command_is_no_part_of_the_conversation(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        [_, command] = await talked(h, "one", "/history")
        for name in ("/continue", "/summarise"):
            assert await h.ask(name, reply_to=command) == "That message is no part of this conversation."
        assert await words(h) == ["one", "You said: one"]


@pytest.mark.parametrize(("author", "moved"), [(ADA, True), (BEA, False), (OWNER, True)])
async def test_in_a_group_one_goes_on_from_what_is_ones_own(tmp_path: Path, author: Author, moved: bool) -> None:
    config = configuration(permissions={"admins": ["memory:9"]})
    async with house(tmp_path, config) as h:
        [one, _] = await talked(h, "one", "two", group=True)
        for target in (one, sent(h, 0)):
            before = await words(h)
            said = await h.ask("/continue", group=True, reply_to=target, author=author)
            assert (await words(h) != before or moved) is moved
            assert said.startswith("The conversation goes on from here: ") is moved
            if not moved:
                assert said == "In a group you can go on from your own messages and my answers to them."


# Summarise up to here


async def test_the_conversation_is_summarised_beside_the_line(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await talked(h, "one", "two")
        before = await words(h)
        assert (await h.ask("/summarise")).startswith(f"You said: {ASKED}")
        assert "one" in h.prompts()[-1]
        assert question(h.prompts()[-1]).startswith(ASKED)
        assert await words(h) == before
        await h.ask("three")
        assert ASKED not in h.prompts()[-1]


@pytest.mark.parametrize("whose", ["answer", "question"])
async def test_up_to_a_message_nothing_later_is_told(tmp_path: Path, whose: str) -> None:
    async with house(tmp_path) as h:
        [_, two, _] = await talked(h, "one", "two", "three")
        before = await words(h)
        await h.ask("/summarise", reply_to=sent(h, 1) if whose == "answer" else two)
        prompt = h.prompts()[-1]
        assert "two" in prompt
        assert "three" not in prompt
        assert ("You said: two" in prompt) is (whose == "answer")
        assert await words(h) == before


async def test_how_it_is_to_be_done_is_passed_on(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await talked(h, "one")
        assert (await h.ask("/summarise In three words.")).endswith("what is still open. In three words.")


async def test_a_summary_can_be_talked_about(tmp_path: Path) -> None:
    """The prompt of a reply to it begins with the prompt that made it."""
    async with house(tmp_path) as h:
        await talked(h, "one", "/summarise", "two")
        await h.ask("Shorter!", reply_to=sent(h, 1))
        prompts = [request.prompt for request in h.engine.requests]
        assert prompts[3][: len(prompts[1])] == prompts[1]
        for earlier, later in pairwise(prompts[:2]):
            assert later[: len(earlier)] == earlier


async def test_a_summary_is_made_once_more_or_of_what_failed(tmp_path: Path) -> None:
    answers = iter(["one", "first", "second", "lost", "third"])
    platform = MemoryAdapter(limits=Limits(text=2000, seconds_per_call=0.0, buttons=True))
    async with house(tmp_path, engine=ScriptedEngine(lambda _: next(answers)), platform=platform) as h:
        await talked(h, "hello", "/summarise")
        await h.press(ActionName.RETRY, sent(h, 1))
        await h.settled()
        h.engine.fail_with = EngineTimeout()
        await h.ask("/summarise")
        h.engine.fail_with = None
        await h.press(ActionName.RETRY, sent(h, 3))
        await h.settled()
        assert h.texts()[-1] == "third"
        made = [prompt for prompt in h.prompts() if ASKED in prompt]
        assert len(set(made)) == 1
        assert await words(h) == ["hello", "one"]


async def test_a_summary_is_stopped(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await talked(h, "one")
        h.engine.stall_after = 5
        await h.say("/summarise")
        await until(lambda: h.engine.active == 1, "the summary")
        await h.press(ActionName.STOP)
        await h.settled()
        assert h.engine.active == 0
        assert await words(h) == ["one", "You said: one"]


async def test_where_nothing_was_said_there_is_nothing_to_summarise(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert await h.ask("/summarise") == "There is nothing here yet that I could summarise."
        assert await h.ask("/summarise", reply_to="404") == "I find no such message in this conversation."


async def test_anothers_command_in_the_talk_of_a_group_is_talk(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(chat={"remember_group_talk": True})) as h:
        await h.say("/summarise@another_bot", group=True, addressed=False, author=BEA)
        await h.ask("one", group=True)
        assert "/summarise@another_bot" in h.prompts()[-1]
        assert ASKED not in h.prompts()[-1]


async def test_the_talk_of_a_group_is_summarised(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(chat={"remember_group_talk": True})) as h:
        await h.ask("one", group=True)
        talk = await h.say("between ourselves", group=True, addressed=False, author=BEA)
        await h.say("and later", group=True, addressed=False, author=BEA)
        await h.ask("/summarise", group=True, reply_to=talk)
        assert "Bea: between ourselves" in h.prompts()[-1]
        assert "and later" not in h.prompts()[-1]
        assert (await words(h))[-2:] == ["between ourselves", "and later"], "the line goes on with what was said"


# What is said in it


async def test_what_is_said_in_a_recording_is_shown(tmp_path: Path) -> None:
    """It was heard before, and is not heard again."""
    hearing = ScriptedSpeech(lambda audio: [f" {SAID}"])
    async with house(
        tmp_path, configuration(chat={"transcripts": "asked"}), platform=Phone(), voice=ears(hearing)
    ) as h:
        event = await h.say("", attachments=(NOTE,))
        await h.settled()
        assert await h.ask("/transcribe", reply_to=event, author=BEA) == f"> {SAID}"
        assert hearing.heard == 1


async def test_a_recording_that_only_was_talk_is_heard_when_somebody_asks(tmp_path: Path) -> None:
    config = configuration(chat={"remember_group_talk": True})
    async with house(tmp_path, config, platform=Phone(), voice=ears()) as h:
        event = await h.say("", attachments=(NOTE,), group=True, addressed=False, author=BEA)
        assert await h.ask("/transcribe", group=True, reply_to=event) == f"> {SAID}"


async def test_of_a_recording_that_was_never_kept_nothing_is_kept(tmp_path: Path) -> None:
    """The adapter brings it along."""
    async with house(tmp_path, platform=Phone(), voice=ears()) as h:
        assert await h.ask("/transcribe", group=True, reply_to="404", attachments=(NOTE,)) == f"> {SAID}"
        assert SAID not in str((await h.store.export("memory", ADA.id)).data)
        assert await words(h) == []
    assert SAID.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


async def test_what_was_not_heard_is_told(tmp_path: Path) -> None:
    async with house(tmp_path, platform=Phone()) as h:
        said = await h.ask("/transcribe", attachments=(NOTE, TEXT))
        assert said == "[`voice.ogg`: not read, voice messages are not heard here]"


async def test_a_recording_without_words_is_told(tmp_path: Path) -> None:
    phone = Phone()
    phone.files["note"] = encoded(silence(4), "ogg", "libopus", RATE)
    async with house(tmp_path, platform=phone, voice=ears()) as h:
        assert await h.ask("/transcribe", attachments=(NOTE,)) == "[`voice.ogg`: not read, I understand no word in it]"


@pytest.mark.parametrize("how", [{}, {"reply_to": "404"}, {"attachments": (TEXT,)}])
async def test_there_must_be_a_recording(tmp_path: Path, how: dict[str, Any]) -> None:
    async with house(tmp_path, platform=Phone(), voice=ears()) as h:
        assert (await h.ask("/transcribe", **how)).startswith("There is no recording in that.")


async def test_where_it_is_not_to_be_shown_it_is_not_heard(tmp_path: Path) -> None:
    config = configuration(chat={"transcripts": "never"})
    hearing = ScriptedSpeech(lambda audio: [f" {SAID}"])
    async with house(tmp_path, config, platform=Phone(), voice=ears(hearing)) as h:
        assert (await h.ask("/transcribe", attachments=(NOTE,))).startswith("What I hear is not shown here.")
        assert hearing.heard == 0


async def test_listening_is_stopped(tmp_path: Path) -> None:
    hearing = ScriptedSpeech(lambda audio: [" word"] * 1000, seconds_per_window=0.05)
    async with house(tmp_path, platform=Phone(), voice=ears(hearing)) as h:
        await h.say("/transcribe", attachments=(NOTE,))
        await until(lambda: hearing.windows > 1, "the hearing")
        await h.press(ActionName.STOP)
        await h.settled()
        assert "Stopped." in h.texts()
        assert hearing.windows < 1000
        assert await words(h) == []
