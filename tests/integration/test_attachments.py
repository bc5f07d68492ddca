"""Files that come with messages: what the model is told of them, what the person is told, and what is kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.errors import MessageGone, PlatformError, TooLarge, Unreachable
from bot.messages import Attachment, Limits, Role
from bot.testing import MemoryAdapter, ScriptedEngine
from storage.store import SqlStore
from tests.attacks import bank
from tests.house import BEA, DEADLINE, configuration, house, place, question, stalled, until

U, A = Role.USER, Role.ASSISTANT
NOTES = Attachment(kind="file", name="notes.txt", media_type="text/plain", size=14, reference="notes")
PDF = Attachment(kind="file", name="cv.pdf", media_type="application/pdf", size=9, reference="cv")
PHOTO = Attachment(kind="image", name="photo.jpg", media_type="image/jpeg", size=9, reference="photo")


class Files(MemoryAdapter):
    """A platform in memory with files, whose next fetches may fail."""

    def __init__(self) -> None:
        super().__init__(limits=Limits(text=2000, seconds_per_call=0.0, private_answers=True, file_bytes=2**22))
        self.files = {"notes": b"Buy a lantern."}
        self.fetched: list[str] = []
        self.refusals: list[PlatformError] = []
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self, attachment: Attachment) -> bytes:
        self.fetched.append(attachment.reference)
        if self.refusals:
            raise self.refusals.pop(0)
        await self.open.wait()
        return await super().fetch(attachment)


@pytest.fixture
def platform() -> Files:
    return Files()


# What the model is told


async def test_a_document_alone_is_answered(tmp_path: Path, platform: Files) -> None:
    async with house(tmp_path, platform=platform) as h:
        assert await h.ask("", attachments=(NOTES,)) == "You said: File notes.txt:\nBuy a lantern."
        assert platform.fetched == ["notes"]


async def test_a_question_comes_before_its_documents(tmp_path: Path, platform: Files) -> None:
    platform.files["more"] = "\ufeffGrüße\r\n".encode("utf-16")[2:]
    more = replace(NOTES, name="more.md", media_type="", reference="more")
    async with house(tmp_path, platform=platform) as h:
        await h.ask("What is it?", attachments=(NOTES, more))
        assert question(h.prompts()[0]) == "What is it?\n\nFile notes.txt:\nBuy a lantern.\n\nFile more.md:\nGrüße"


async def test_files_sent_together_do_not_interrupt_each_other(tmp_path: Path, platform: Files) -> None:
    """They come as one message each, while answers are interrupted by whoever goes on talking."""
    async with house(tmp_path, configuration(chat={"while_answering": "interrupt"}), platform=platform) as h:
        await stalled(h, "", attachments=(NOTES,))
        await h.say("", attachments=(NOTES,))
        h.engine.stall_after = None
        h.engine.resume.set()
        await h.settled()
        assert h.texts() == ["You said: File notes.txt:\nBuy a lantern."] * 2


async def test_in_a_group_it_is_the_askers(tmp_path: Path, platform: Files) -> None:
    async with house(tmp_path, platform=platform) as h:
        await h.ask("What?", group=True, attachments=(NOTES,))
        assert question(h.prompts()[0]) == "Ada: What?\n\nFile notes.txt:\nBuy a lantern."


async def test_later_prompts_begin_with_the_very_words_also_after_a_restart(tmp_path: Path, platform: Files) -> None:
    """Although the file is gone from the platform by then."""
    prompts = []
    for _ in range(2):
        async with house(tmp_path, platform=platform) as h:
            await h.ask("What is it?", attachments=(NOTES, PDF, PHOTO))
            await h.ask("", attachments=(NOTES,))
            await h.ask("And now?")
            prompts += [request.prompt for request in h.engine.requests]
        platform.files["notes"] = b"Buy something else."
    assert len(prompts) == 6
    for earlier, later in pairwise(prompts):
        assert later[: len(earlier)] == earlier
    assert platform.fetched == ["notes"] * 4


async def test_a_retry_and_an_edit_read_nothing_again(tmp_path: Path, platform: Files) -> None:
    async with house(tmp_path, platform=platform) as h:
        event = await h.say("What?", attachments=(NOTES,))
        await h.settled()
        await h.ask("/retry")
        await h.edit(event, "What, then?")
        await h.settled()
        assert [question(prompt) for prompt in h.prompts()] == [
            "What?\n\nFile notes.txt:\nBuy a lantern.",
            "What?\n\nFile notes.txt:\nBuy a lantern.",
            "What, then?\n\nFile notes.txt:\nBuy a lantern.",
        ]
        assert platform.fetched == ["notes"]


async def test_group_talk_with_a_file_says_so(tmp_path: Path, platform: Files) -> None:
    """Nobody asked for it to be read."""
    async with house(tmp_path, configuration(chat={"remember_group_talk": True}), platform=platform) as h:
        await h.say("", group=True, addressed=False, author=BEA, attachments=(NOTES,))
        await h.ask("What did Bea send?", group=True)
        assert "user\nBea: [notes.txt: not read]<|im_end|>" in h.prompts()[0]
        assert platform.fetched == []


async def test_neither_a_documents_words_nor_its_name_forge_a_role(tmp_path: Path, platform: Files) -> None:
    """The prompt has the control tokens of one system message and one question, whatever is in the file."""
    attacks = [text for text in bank.attacks() if any(string in text for string in ScriptedEngine.CONTROLS)]
    attacks += [string[:cut] for string in ScriptedEngine.CONTROLS for cut in (len(string) - 1, 2)]
    assert len(attacks) > 20
    engine = ScriptedEngine(lambda _: "Hm.", context_length=65536)
    async with house(tmp_path, platform=platform, engine=engine) as h:
        for number, text in enumerate(attacks):
            platform.files["evil"] = text.encode("utf-8", "replace")
            evil = replace(NOTES, name=text, reference="evil")
            await h.ask(text, chat=str(number), attachments=(evil, replace(PDF, name=text), evil))
        assert len(h.engine.requests) == len(attacks)
        controls = {tuple(i for i in request.prompt if i >= 256) for request in h.engine.requests}
        assert controls == {(257, 258, 257, 258, 257)}


# What the person is told


async def test_what_cannot_be_read_is_the_answer_where_nothing_else_came(tmp_path: Path, platform: Files) -> None:
    """And nothing of it is kept."""
    platform.limits = replace(platform.limits, buttons=True)
    async with house(tmp_path, platform=platform) as h:
        assert await h.ask("", attachments=(PDF,)) == "I cannot read this: `cv.pdf` (not a text file)."
        assert await h.ask(" ", attachments=(PHOTO,)) == (
            "I cannot read this: `photo.jpg` (pictures are not understood yet)."
        )
        sticker = await h.say("")
        await h.settled()
        assert h.texts()[-1] == "There is no text in this message, and text is all that I understand so far."
        assert (h.engine.requests, platform.fetched) == ([], [])
        assert await h.line() == []
        assert await h.store.find_sent(place(), sticker) is None
        assert not any(state.buttons for state in platform.standing(place()))
        await h.ask("What did I send?")
        assert len(h.prompts()[0].split("<|im_start|>user")) == 2
    assert holds(tmp_path, b"cv.pdf", b"photo.jpg") == []


async def test_what_may_be_read_another_time_is_kept(tmp_path: Path, platform: Files) -> None:
    platform.refusals = [MessageGone("404")]
    async with house(tmp_path, platform=platform) as h:
        event = await h.say("", attachments=(NOTES, PDF))
        await h.settled()
        assert await h.store.find_sent(place(), event) is not None


async def test_a_word_that_was_said_and_not_closed_is_said_once_and_nothing_is_kept_then(
    tmp_path: Path, platform: Files
) -> None:
    """The process ended in between."""
    closing = asyncio.Event()

    class Slow(SqlStore):
        async def close(self, *_: object) -> tuple[int, ...]:
            closing.set()
            await asyncio.Event().wait()
            return ()

        async def keep(self, *_: object) -> None:
            raise AssertionError("not a word of it is written down")

    store = await Slow.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    async with house(tmp_path, platform=platform, store=store) as h:
        event = await h.say("", attachments=(PHOTO,))
        await asyncio.wait_for(closing.wait(), DEADLINE)
    async with house(tmp_path, platform=platform) as h:
        await h.settled()
        assert h.texts() == ["I cannot read this: `photo.jpg` (pictures are not understood yet)."]
        assert await h.store.find_sent(place(), event) is None


async def test_beside_words_it_is_told_to_both_the_model_and_the_person(tmp_path: Path, platform: Files) -> None:
    async with house(tmp_path, platform=platform, engine=ScriptedEngine(lambda _: "Hm.")) as h:
        shown = await h.ask("What is it?", attachments=(NOTES, PDF))
        assert question(h.prompts()[0]) == (
            "What is it?\n\nFile notes.txt:\nBuy a lantern.\n\n[cv.pdf: not read, not a text file]"
        )
        assert shown == "Hm.\n\n[`cv.pdf`: not read, not a text file]"
        assert await h.line() == [(U, "What is it?"), (A, "Hm.")]
        assert await h.ask("And now?") == "Hm."


async def test_the_largest_document_is_configured(tmp_path: Path, platform: Files) -> None:
    async with house(tmp_path, configuration(chat={"max_document_bytes": 13}), platform=platform) as h:
        words = "I cannot read this: `notes.txt` (larger than 13 bytes)."
        assert await h.ask("", attachments=(NOTES,)) == words
        assert platform.fetched == []
        assert await h.ask("", attachments=(replace(NOTES, size=None),)) == words
        assert platform.fetched == ["notes"]
        h.config = configuration(chat={"max_document_bytes": 14})
        assert await h.ask("", attachments=(NOTES,)) == "You said: File notes.txt:\nBuy a lantern."


async def test_what_is_gone_is_told_and_a_retry_looks_again(tmp_path: Path, platform: Files) -> None:
    platform.refusals = [MessageGone("404"), PlatformError("403")]
    async with house(tmp_path, platform=platform) as h:
        assert await h.ask("", attachments=(NOTES,)) == "I cannot read this: `notes.txt` (no longer there)."
        assert await h.ask("/retry") == "I cannot read this: `notes.txt` (it could not be loaded)."
        assert await h.ask("/retry") == "You said: File notes.txt:\nBuy a lantern."
        await h.ask("Thanks")
        assert "user\nFile notes.txt:\nBuy a lantern.<|im_end|>" in h.prompts()[-1]


@pytest.mark.parametrize(
    ("most", "words"), [(20 * 2**20, "20 MiB"), (20_000_000, "19 MiB"), (2**20 - 1, "1023 KiB"), (10, "10 bytes")]
)
async def test_what_the_platform_does_not_give_is_told_with_its_limit(
    tmp_path: Path, platform: Files, most: int, words: str
) -> None:
    platform.refusals = [TooLarge(most)]
    async with house(tmp_path, platform=platform) as h:
        shown = await h.ask("What is it?", attachments=(NOTES,))
        assert shown.endswith(f"\n\n[`notes.txt`: not read, larger than {words}]")


async def test_a_document_that_does_not_fit_is_too_long_and_the_next_question_is_answered(
    tmp_path: Path, platform: Files
) -> None:
    platform.files["notes"] = b"word " * 50_000
    async with house(tmp_path, platform=platform) as h:
        words = "This is too long for the model. Please send less at a time."
        assert await h.ask("What?", attachments=(replace(NOTES, size=None),)) == words
        platform.files["notes"] = b"word " * 1200
        assert await h.ask("What?", attachments=(replace(NOTES, size=None),)) == words
        assert await h.ask("short") == "You said: short"


async def test_a_command_leaves_files_alone(tmp_path: Path, platform: Files) -> None:
    async with house(tmp_path, platform=platform) as h:
        assert await h.ask("/history", attachments=(NOTES,)) == "This conversation is empty."
        assert platform.fetched == []


async def test_the_commands_that_show_messages_name_their_files(tmp_path: Path, platform: Files) -> None:
    async with house(tmp_path, platform=platform, engine=ScriptedEngine(lambda _: "Hm.")) as h:
        await h.ask("", attachments=(NOTES,))
        assert "Ada: [notes.txt]\n" in await h.ask("/history")
        assert await h.ask("/undo") == "Taken back: [notes.txt]"


# When the platform is away, or the person is


async def test_a_platform_that_is_away_is_waited_for(tmp_path: Path, platform: Files) -> None:
    """An outage is no failure of the answer, however often it is met."""
    platform.refusals = [Unreachable("timed out") for _ in range(6)]
    async with house(tmp_path, platform=platform) as h:
        with capture_logs() as logs:
            assert await h.ask("", attachments=(NOTES,)) == "You said: File notes.txt:\nBuy a lantern."
        assert len(platform.fetched) == 7
        assert len(platform.messages) == 1
        assert [entry["attempt"] for entry in logs if entry["event"] == "left for later"] == [1] * 6
        assert not [entry for entry in logs if entry["event"] == "attempt failed"]


async def test_a_stop_ends_the_loading(tmp_path: Path, platform: Files) -> None:
    platform.open.clear()
    async with house(tmp_path, platform=platform) as h:
        await h.say("", attachments=(NOTES,))
        await until(lambda: platform.fetched == ["notes"], "the loading")
        await h.say("/stop")
        await h.settled()
        assert "Stopped." in h.texts()
        assert h.engine.requests == []


async def test_what_is_deleted_while_it_is_loaded_leaves_nothing(tmp_path: Path, platform: Files) -> None:
    platform.open.clear()
    async with house(tmp_path, platform=platform) as h:
        event = await h.say("", attachments=(replace(NOTES, name="xyzzy.txt"),))
        await until(lambda: platform.fetched == ["notes"], "the loading")
        await h.delete(event)
        platform.open.set()
        await h.settled()
        assert h.texts() == []
    assert holds(tmp_path, b"lantern", b"xyzzy") == []


# What is kept


def holds(folder: Path, *words: bytes) -> list[str]:
    """The files in which one of these words is."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return [path.name for path in files if any(word in path.read_bytes() for word in words)]


async def test_forgetme_leaves_neither_words_nor_name(tmp_path: Path, platform: Files) -> None:
    platform.files["notes"] = b"The secret word is xyzzy. " * 5000
    async with house(tmp_path, platform=platform) as h:
        await h.ask("What?", attachments=(replace(NOTES, name="plugh.txt", size=None), replace(PDF, name="plugh.pdf")))
        exported = str((await h.store.export("memory", "1")).data)
        assert "xyzzy" in exported
        assert "plugh.pdf" in exported
        assert holds(tmp_path, b"xyzzy")
        await h.ask("/forgetme")
        assert "plugh" not in str((await h.store.export("memory", "1")).data)
        assert holds(tmp_path, b"xyzzy", b"plugh") == []


async def test_with_retention_of_nothing_a_document_goes_with_the_answer(tmp_path: Path, platform: Files) -> None:
    async with house(tmp_path, configuration(retention={"days": 0}), platform=platform) as h:
        assert "lantern" in await h.ask("", attachments=(NOTES,))
    assert holds(tmp_path, b"lantern", b"notes.txt") == []


async def test_neither_words_nor_names_reach_the_log(tmp_path: Path, platform: Files) -> None:
    platform.files["notes"] = b"xyzzy"
    xyzzy = replace(NOTES, name="xyzzy.txt")
    async with house(tmp_path, platform=platform) as h:
        with capture_logs() as logs:
            await h.ask("", attachments=(xyzzy,))
            await h.ask("", attachments=(replace(PDF, name="xyzzy.pdf"),))
            platform.refusals = [PlatformError("no such file: xyzzy.txt"), MessageGone("xyzzy.txt")]
            await h.ask("", attachments=(xyzzy, xyzzy))
            platform.files["notes"] = b"xyzzy " * 40_000
            await h.ask("", attachments=(replace(xyzzy, size=None),))
        shown = [entry for entry in logs if entry["log_level"] != "debug"]
        assert len(shown) > 5
        assert "xyzzy" not in str(shown)
