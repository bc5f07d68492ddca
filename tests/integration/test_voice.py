"""Voice messages on their way through the house: heard, quoted, answered, kept as text, and forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from bot.config import SpeechConfig
from bot.errors import EngineError
from bot.messages import ActionName, Attachment, Limits, Role
from bot.ports import SpeechToText
from bot.speech.decode import AudioLimits, Decoder
from bot.speech.models import SpeechModels
from bot.testing import MemoryAdapter, ScriptedSpeech
from bot.testing_speech import loud
from bot.transcription import Audio
from bot.voice import Limits as VoiceLimits
from bot.voice import Voice
from tests import speech
from tests.house import configuration, house, question, until
from tests.recordings import RATE, encoded, recording, silence, silent_video, tone, video

U, A = Role.USER, Role.ASSISTANT
NOTE = Attachment(kind="voice", name="voice.ogg", media_type="audio/ogg", size=None, reference="note", duration=4)
SAID = "tell me about the moon"


class Phone(MemoryAdapter):
    """A platform in memory with voice messages."""

    def __init__(self) -> None:
        super().__init__(limits=Limits(text=2000, seconds_per_call=0.0, private_answers=True, file_bytes=2**25))
        self.files = {"note": recording("opus", 4.0)}
        self.fetched = 0

    async def fetch(self, attachment: Attachment) -> bytes:
        self.fetched += 1
        return await super().fetch(attachment)


def ears(speech_to_text: SpeechToText | None = None, *, seconds: float = 900, size: int = 25 * 2**20) -> Voice:
    fake = ScriptedSpeech(lambda audio: [" tell me about", " the moon"])
    return Voice(Decoder(AudioLimits(seconds, size)), speech_to_text or fake, VoiceLimits(seconds, size))


@pytest.fixture
def phone() -> Phone:
    return Phone()


async def test_a_voice_message_is_quoted_and_answered(tmp_path: Path, phone: Phone) -> None:
    async with house(tmp_path, platform=phone, voice=ears()) as h:
        assert await h.ask("", attachments=(NOTE,)) == f"> {SAID}\n\nYou said: {SAID}"
        assert question(h.prompts()[0]) == SAID


async def test_what_was_said_is_the_messages_text_and_the_quote_is_nobodys_words(tmp_path: Path, phone: Phone) -> None:
    """In the history, for the model, and in later prompts, which begin with the very same tokens."""
    prompts = []
    for _ in range(2):
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            await h.ask("", attachments=(NOTE,))
            await h.ask("And now?")
            prompts += [request.prompt for request in h.engine.requests]
            line = await h.line()
    assert line[:2] == [(U, SAID), (A, f"You said: {SAID}")]
    for earlier, later in pairwise(prompts):
        assert later[: len(earlier)] == earlier


async def test_its_language_and_length_are_kept_with_it(tmp_path: Path, phone: Phone) -> None:
    async with house(tmp_path, platform=phone, voice=ears()) as h:
        await h.ask("", attachments=(NOTE,))
        [asked, _] = await h.store.history((await h.conversation()).head)
        [item] = asked.attachments
        assert item.words == SAID
        assert item.speech is not None
        assert item.speech.language == "en"
        assert item.speech.duration == pytest.approx(4.0, abs=0.05)
        exported = (await h.store.export("memory", "1")).data
        assert SAID in str(exported)
        assert "heard_seconds" in str(exported)


async def test_a_caption_comes_first(tmp_path: Path, phone: Phone) -> None:
    async with house(tmp_path, platform=phone, voice=ears()) as h:
        await h.ask("Answer in one word.", attachments=(NOTE,))
        assert question(h.prompts()[0]) == f"Answer in one word.\n\n{SAID}"


async def test_a_caption_that_is_edited_leaves_what_was_said(tmp_path: Path, phone: Phone) -> None:
    """And the recording is not heard again."""
    hearing = ScriptedSpeech(lambda audio: [f" {SAID}"])
    async with house(tmp_path, platform=phone, voice=ears(hearing)) as h:
        event = await h.say("In a word.", attachments=(NOTE,))
        await h.settled()
        await h.edit(event, "In two words.")
        await h.settled()
        assert question(h.prompts()[-1]) == f"In two words.\n\n{SAID}"
        assert hearing.heard == 1


@pytest.mark.parametrize(("setting", "shown"), [("asked", False), ("never", False), ("always", True)])
async def test_whether_it_is_quoted_is_a_setting(tmp_path: Path, phone: Phone, setting: str, shown: bool) -> None:
    async with house(tmp_path, configuration(chat={"transcripts": setting}), platform=phone, voice=ears()) as h:
        answer = await h.ask("", attachments=(NOTE,))
        assert answer.startswith("> ") is shown
        assert answer.endswith(f"You said: {SAID}")


@pytest.mark.parametrize(
    ("own", "quoted", "asked"), [("asked", False, True), ("never", False, False), ("always", True, True)]
)
async def test_a_conversation_has_a_setting_of_its_own_for_that(
    tmp_path: Path, phone: Phone, own: str, quoted: bool, asked: bool
) -> None:
    usual = "never" if own == "always" else "always"
    async with house(tmp_path, configuration(chat={"transcripts": usual}), platform=phone, voice=ears()) as h:
        await h.ask(f"/transcripts {own}")
        assert (await h.ask("", attachments=(NOTE,))).startswith("> ") is quoted
        await h.ask("And now?")
        assert (await h.ask("/transcript") == f"> {SAID}") is asked
        await h.ask("/transcripts default")
        assert (await h.ask("", attachments=(NOTE,))).startswith("> ") is (usual == "always")
        other = await h.ask("", attachments=(NOTE,), chat="other")
        assert other.startswith("> ") is (usual == "always")


class TestSpokenCommands:
    async def test_a_command_is_all_that_is_said(self, tmp_path: Path, phone: Phone) -> None:
        hearing = ScriptedSpeech(lambda audio: [" New conversation."])
        async with house(tmp_path, platform=phone, voice=ears(hearing)) as h:
            await h.ask("My name is Ada.")
            answer = await h.ask("", attachments=(NOTE,))
            assert answer == "> New conversation.\n\nA new conversation begins. What was said before is not in it."
            await h.ask("What is my name?")
            assert "Ada" not in h.prompts()[-1]

    async def test_a_retry_answers_the_last_question_again(self, tmp_path: Path, phone: Phone) -> None:
        hearing = ScriptedSpeech(lambda audio: [" try again"])
        async with house(tmp_path, platform=phone, voice=ears(hearing)) as h:
            await h.ask("hello")
            assert await h.ask("", attachments=(NOTE,)) == "> try again\n\nYou said: hello"
            assert len(h.prompts()) == 2

    async def test_within_a_sentence_it_is_none(self, tmp_path: Path, phone: Phone) -> None:
        hearing = ScriptedSpeech(lambda audio: [" What is a new conversation?"])
        async with house(tmp_path, platform=phone, voice=ears(hearing)) as h:
            assert (await h.ask("", attachments=(NOTE,))).endswith("You said: What is a new conversation?")

    async def test_what_is_said_is_never_a_typed_command(self, tmp_path: Path, phone: Phone) -> None:
        """Also when it is answered again: then the words are in the store."""
        hearing = ScriptedSpeech(lambda audio: [" /forgetme"])
        async with house(tmp_path, platform=phone, voice=ears(hearing)) as h:
            assert await h.ask("", attachments=(NOTE,)) == "> /forgetme\n\nYou said: /forgetme"
            assert await h.ask("/retry") == "> /forgetme\n\nYou said: /forgetme"
            await h.press(ActionName.RETRY)
            await h.settled()
            assert h.texts()[-1] == "> /forgetme\n\nYou said: /forgetme"

    async def test_typed_it_is_none(self, tmp_path: Path, phone: Phone) -> None:
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            assert await h.ask("new conversation") == "You said: new conversation"

    @pytest.mark.parametrize(("setting", "shown"), [("asked", True), ("always", True), ("never", False)])
    async def test_what_was_heard_can_be_asked_for(
        self, tmp_path: Path, phone: Phone, setting: str, shown: bool
    ) -> None:
        async with house(tmp_path, configuration(chat={"transcripts": setting}), platform=phone, voice=ears()) as h:
            await h.ask("", attachments=(NOTE,))
            await h.ask("And now?")
            answer = await h.ask("/transcript")
            assert (answer == f"> {SAID}") is shown

    async def test_where_nobody_spoke_there_is_nothing_to_show(self, tmp_path: Path, phone: Phone) -> None:
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            assert (await h.ask("/transcript")).startswith("There is no voice message")


async def test_two_recordings_in_one_message(tmp_path: Path, phone: Phone) -> None:
    phone.files["second"] = recording("mp3", 2.0)
    second = Attachment(kind="audio", name="song.mp3", media_type="audio/mpeg", size=None, reference="second")
    hearing = ScriptedSpeech(lambda audio: [" first" if audio.duration > 3 else " second"])
    async with house(tmp_path, platform=phone, voice=ears(hearing)) as h:
        await h.ask("", attachments=(NOTE, second))
        assert question(h.prompts()[0]) == "first\n\nsecond"


async def test_a_sound_file_is_a_recording_and_a_text_beside_it_is_read(tmp_path: Path, phone: Phone) -> None:
    phone.files["notes"] = b"Buy a lantern."
    notes = Attachment(kind="file", name="notes.txt", media_type="text/plain", size=14, reference="notes")
    sound = replace(NOTE, kind="file", name="memo.m4a", media_type="audio/mp4", duration=None)
    async with house(tmp_path, platform=phone, voice=ears()) as h:
        await h.ask("", attachments=(notes, sound))
        assert question(h.prompts()[0]) == f"{SAID}\n\nFile notes.txt:\nBuy a lantern."


@pytest.mark.parametrize(
    ("kind", "name", "media_type"),
    [
        ("video", "note.mp4", "video/mp4"),
        ("file", "holiday.mp4", "video/mp4"),
        ("file", "holiday.MOV", "application/octet-stream"),
        ("file", "talk.webm", ""),
    ],
)
async def test_of_a_video_the_sound_is_heard(
    tmp_path: Path, phone: Phone, kind: Literal["video", "file"], name: str, media_type: str
) -> None:
    """Which may end before the pictures do."""
    phone.files["note"] = video([(0.5, tone(2))], seconds=10)
    item = replace(NOTE, kind=kind, name=name, media_type=media_type, duration=10)
    async with house(tmp_path, platform=phone, voice=ears()) as h:
        assert await h.ask("", attachments=(item,)) == f"> {SAID}\n\nYou said: {SAID}"
        phone.files["note"] = silent_video()
        assert await h.ask("", attachments=(item,)) == f"I cannot read this: `{name}` (there is no sound in it)."


class TestNotHeard:
    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (b"", "the file is empty"),
            (b"This is text.", "not a recording that I can read"),
            (recording("m4a")[:9000], "the recording is damaged"),
        ],
        ids=["empty", "text", "damaged"],
    )
    async def test_a_bad_file_gets_a_short_word(self, tmp_path: Path, phone: Phone, data: bytes, why: str) -> None:
        phone.files["note"] = data
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            answer = await h.ask("", attachments=(NOTE,))
            assert answer.startswith(f"I cannot read this: `voice.ogg` ({why}")
            assert h.engine.requests == []
            assert await h.ask("Go on.") == "You said: Go on."

    async def test_one_in_which_nobody_speaks(self, tmp_path: Path, phone: Phone) -> None:
        phone.files["note"] = encoded(silence(4), "ogg", "libopus", RATE)
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            answer = await h.ask("", attachments=(NOTE,))
            assert answer == "I cannot read this: `voice.ogg` (I understand no word in it)."

    @pytest.mark.parametrize(
        ("stated", "why"), [({"duration": 3600.0}, "longer than 15:00"), ({"size": 2**30}, "larger than 25 MiB")]
    )
    async def test_what_the_platform_says_is_too_much_is_not_even_fetched(
        self, tmp_path: Path, phone: Phone, stated: dict[str, Any], why: str
    ) -> None:
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            answer = await h.ask("", attachments=(replace(NOTE, **stated),))
            assert answer == f"I cannot read this: `voice.ogg` ({why})."
            assert phone.fetched == 0

    async def test_one_that_is_longer_than_the_platform_says(self, tmp_path: Path, phone: Phone) -> None:
        async with house(tmp_path, platform=phone, voice=ears(seconds=3)) as h:
            answer = await h.ask("", attachments=(replace(NOTE, duration=1),))
            assert answer == "I cannot read this: `voice.ogg` (longer than 0:03)."

    async def test_a_broken_one_is_heard_as_far_as_it_goes(self, tmp_path: Path, phone: Phone) -> None:
        data = recording("opus", 4.0)
        phone.files["note"] = data[: len(data) // 2]
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            answer = await h.ask("", attachments=(NOTE,))
            assert answer.startswith(
                f"> {SAID}\n\nYou said: {SAID}\n\n[`voice.ogg`: the recording is damaged after 0:0"
            )
            assert question(h.prompts()[0]) == SAID

    async def test_one_that_is_gone(self, tmp_path: Path, phone: Phone) -> None:
        del phone.files["note"]
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            assert "no longer there" in await h.ask("", attachments=(NOTE,))

    async def test_where_nothing_hears(self, tmp_path: Path, phone: Phone) -> None:
        async with house(tmp_path, platform=phone) as h:
            assert "voice messages are not heard here" in await h.ask("", attachments=(NOTE,))
            assert phone.fetched == 0


class TestFailures:
    async def test_a_model_that_fails_in_passing_is_asked_again(self, tmp_path: Path, phone: Phone) -> None:
        def words(audio: object) -> list[str]:
            if hearing.heard < 3:
                raise EngineError(detail="out of memory")
            return [f" {SAID}"]

        hearing = ScriptedSpeech(words)
        async with house(tmp_path, platform=phone, voice=ears(hearing)) as h:
            assert await h.ask("", attachments=(NOTE,)) == f"> {SAID}\n\nYou said: {SAID}"
            assert hearing.heard == 3

    async def test_a_model_that_cannot_be_loaded_is_told(self, tmp_path: Path, phone: Phone) -> None:
        """The owner's log has the reason, the person a word."""
        models = SpeechModels(SpeechConfig(model=str(tmp_path / "nowhere"), device="cpu"), tmp_path)
        async with house(tmp_path, platform=phone, voice=ears(models)) as h:
            assert await h.ask("", attachments=(NOTE,)) == "The speech model cannot be loaded."
        await models.aclose()

    async def test_a_stop_ends_the_hearing(self, tmp_path: Path, phone: Phone) -> None:
        hearing = ScriptedSpeech(lambda audio: [" word"] * 1000, seconds_per_window=0.05)
        async with house(tmp_path, platform=phone, voice=ears(hearing)) as h:
            await h.say("", attachments=(NOTE,))
            await until(lambda: hearing.windows > 1, "the hearing")
            await h.press(ActionName.STOP)
            await h.settled()
            so_far = hearing.windows
            await asyncio.sleep(0.2)
            assert hearing.windows == so_far
            assert "Stopped." in h.texts()


class TestPrivacy:
    async def test_forgetme_takes_what_was_said(self, tmp_path: Path, phone: Phone) -> None:
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            await h.ask("", attachments=(NOTE,))
            await h.ask("/forgetme")
            await h.settled()
        found = [path for path in tmp_path.rglob("*") if path.is_file() and SAID.encode() in path.read_bytes()]
        assert found == []

    async def test_the_same_recording_is_kept_once_and_goes_with_the_last_who_sent_it(
        self, tmp_path: Path, phone: Phone
    ) -> None:
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            first = await h.say("", attachments=(NOTE,))
            await h.settled()
            await h.ask("", attachments=(NOTE,), chat="other")
            await h.delete(first)
            assert (await h.line("other"))[0] == (U, SAID)

    async def test_search_finds_what_was_said(self, tmp_path: Path, phone: Phone) -> None:
        async with house(tmp_path, platform=phone, voice=ears()) as h:
            await h.ask("", attachments=(NOTE,))
            found = await h.store.search("memory", "bot", "chat", "ABOUT moon")
            assert [(each.role, each.excerpt) for each in found] == [(A, f"You said: {SAID}"), (U, SAID)]

    async def test_without_retention_nothing_stays(self, tmp_path: Path, phone: Phone) -> None:
        async with house(tmp_path, configuration(retention={"days": 0}), platform=phone, voice=ears()) as h:
            assert SAID in await h.ask("", attachments=(NOTE,))
        found = [path for path in tmp_path.rglob("*") if path.is_file() and SAID.encode() in path.read_bytes()]
        assert found == []


async def test_two_hundred_at_once_are_each_answered(tmp_path: Path, phone: Phone) -> None:
    """Which takes longer than a wait of these tests, so they are asked after one by one."""
    phone.files["note"] = recording("amr", 1.0)
    note = replace(NOTE, duration=1)
    async with house(tmp_path, platform=phone, voice=ears()) as h:
        await asyncio.gather(*(h.say("", chat=f"c{number}", attachments=(note,)) for number in range(200)))
        for chat in [f"c{number}" for number in range(200)]:
            await until(lambda chat=chat: h.texts(chat)[-1:] == [f"> {SAID}\n\nYou said: {SAID}"], "the answer")  # type: ignore[misc]


@pytest.mark.parametrize(("workers", "places"), [(1, 3), (5, 5)])
async def test_a_few_are_in_memory_at_once_and_one_for_each_who_hears(workers: int, places: int) -> None:
    here, most = 0, 0

    async def decode(data: bytes, *, stated: float | None = None) -> Audio:
        nonlocal here, most
        here += 1
        most = max(most, here)
        await asyncio.sleep(0.01)
        here -= 1
        return loud(1.0)

    async def load() -> bytes:
        return b"a recording"

    hearing = Voice(decode, ScriptedSpeech(), VoiceLimits(900, 2**20), workers=workers)
    await asyncio.gather(*(hearing.hear(NOTE, load) for _ in range(20)))
    assert most == places


async def test_real_speech_is_heard_by_the_embedded_model(tmp_path: Path, phone: Phone) -> None:
    phone.files["note"] = speech.opus("what is my name")
    models = SpeechModels(SpeechConfig(device="cpu", threads=1), tmp_path)
    async with house(tmp_path, platform=phone, voice=ears(models)) as h:
        answer = await h.ask("", attachments=(replace(NOTE, duration=1),))
        assert answer == "> what is my name\n\nYou said: what is my name"
    await models.aclose()
