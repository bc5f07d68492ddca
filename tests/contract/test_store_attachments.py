"""What the store promises about attachments and what was read in them, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import create_engine, text

from bot.messages import (
    AnswerState,
    Attached,
    Attachment,
    Author,
    ConversationKey,
    Finished,
    Migrated,
    Settings,
    Speech,
    Triage,
)
from bot.records import Content, Reading
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import (
    ANN,
    BEN,
    CHAT,
    GROUP,
    NOTES,
    THEN,
    WORDS,
    answer,
    ask,
    claimed,
    deleted,
    edited,
    finished,
    overhear,
    reading,
    said,
    send,
)

SONG = Attachment(kind="audio", name="song.ogg", media_type="audio/ogg", size=None, reference="f2", duration=61.5)


async def ask_with_notes(
    store: SqlStore, event_id: str = "1", *, key: ConversationKey = CHAT, by: Author = ANN, words: str = WORDS
) -> int:
    """A question with a document that was read; it waits for its answer. Returns its message's id."""
    received = await ask(store, event_id, "what is it?", key=key, by=by, attachments=(NOTES,))
    assert received.message is not None
    await store.record_read(received.message, [reading(words)])
    return received.message


async def known(store: SqlStore, message: int) -> list[str | None]:
    """What the history says was read in a message's attachments."""
    return [item.words for item in (await store.history(message))[-1].attachments]


def rows(url: str) -> tuple[int, int]:
    """How many attachments and how many contents are in the database."""
    engine = create_engine(url.replace("+aiosqlite", ""))
    with engine.connect() as connection:
        counts = [
            connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            for table in ("attachments", "contents")
        ]
    engine.dispose()
    return counts[0], counts[1]


class TestReading:
    """What was read in an attachment comes with its message from then on."""

    async def test_before_it_was_read_an_attachment_is_as_the_platform_stated_it(self, store: SqlStore) -> None:
        await ask(store, "1", attachments=(NOTES, SONG))
        claim = await claimed(store)
        assert claim.event.attachments == (NOTES, SONG)
        assert claim.question.attachments == (Attached(NOTES), Attached(SONG))
        assert (await store.history(claim.question.id))[-1].attachments == (Attached(NOTES), Attached(SONG))

    async def test_what_was_read_comes_with_the_history_the_next_claim_and_the_message_itself(
        self, store: SqlStore
    ) -> None:
        await ask(store, "1", attachments=(NOTES, SONG))
        first = await claimed(store)
        why = Reading(number=1, content=None, unread="sound is not understood yet")
        await store.record_read(first.question.id, [reading(), why])
        read = (Attached(NOTES, WORDS), Attached(SONG, None, "sound is not understood yet"))
        assert (await store.history(first.question.id))[-1].attachments == read
        await store.release(first)
        second = await claimed(store)
        assert second.question.attachments == read
        assert second.event.attachments == (NOTES, SONG)
        found = await store.find_sent(CHAT, "1")
        assert found is not None
        assert found.attachments == read

    async def test_group_talk_has_its_attachments_too(self, store: SqlStore) -> None:
        await store.receive(said("1", "look", key=GROUP, by=BEN, attachments=(NOTES,)), Triage.CONTEXT)
        await overhear(store, "2", "nice")
        await ask(store, "3", key=GROUP)
        claim = await claimed(store)
        path = await store.history(claim.question.id)
        assert [message.attachments for message in path] == [(Attached(NOTES),), (), ()]

    async def test_to_write_it_down_again_changes_nothing(self, store: SqlStore, database_url: str) -> None:
        message = await ask_with_notes(store)
        await store.record_read(message, [reading()])
        assert await known(store, message) == [WORDS]
        assert rows(database_url) == (1, 1)

    async def test_what_could_not_be_read_may_be_read_later(self, store: SqlStore) -> None:
        await ask(store, "1", attachments=(NOTES,))
        message = (await claimed(store)).question.id
        await store.record_read(message, [Reading(number=0, content=None, unread="no longer there")])
        await store.record_read(message, [reading()])
        assert (await store.history(message))[-1].attachments == (Attached(NOTES, WORDS),)

    async def test_other_bytes_take_the_place_of_what_was_read_before(self, store: SqlStore, database_url: str) -> None:
        message = await ask_with_notes(store)
        await store.record_read(message, [reading("Buy two.")])
        assert await known(store, message) == ["Buy two."]
        assert rows(database_url) == (1, 1)

    async def test_nothing_is_written_for_what_is_not_there(self, store: SqlStore, database_url: str) -> None:
        received = await ask(store, "1")
        assert received.message is not None
        await store.record_read(received.message, [reading()])
        await store.record_read(received.message + 1000, [reading()])
        await ask(store, "2", attachments=(NOTES,))
        last = (await ask(store, "3", key=GROUP, attachments=(NOTES,))).message
        assert last is not None
        await store.record_read(last, [reading(number=1)])
        assert rows(database_url) == (2, 0)

    @pytest.mark.parametrize(
        ("sent", "kept"), [("", ""), ("a\x00b\ud800", "a\ufffdb\ufffd"), ("grüße " * 50_000, "grüße " * 50_000)]
    )
    async def test_words_and_names_are_texts_like_any_other(self, store: SqlStore, sent: str, kept: str) -> None:
        odd = replace(NOTES, name=sent, media_type=sent, reference=sent)
        await ask(store, "1", attachments=(odd,))
        claim = await claimed(store)
        content = Content(hash="00", reader="text", media_type=sent, size=1, words=sent)
        await store.record_read(claim.question.id, [Reading(number=0, content=content, unread=sent)])
        told = (await store.history(claim.question.id))[-1].attachments[0]
        assert (told.words, told.unread) == (kept, kept)
        assert told.attachment == replace(NOTES, name=kept, media_type=kept, reference=kept)

    async def test_an_edited_question_has_the_same_attachments(self, store: SqlStore) -> None:
        old = await ask_with_notes(store)
        await answer(store)
        await store.receive(edited("1", "and what is that?"), Triage.PENDING)
        claim = await claimed(store)
        assert claim.question.id != old
        assert claim.question.attachments == (Attached(NOTES, WORDS),)
        assert claim.event.attachments == (NOTES,)

    async def test_a_chats_new_name_changes_nothing(self, store: SqlStore) -> None:
        old = await ask_with_notes(store)
        await answer(store)
        early = await ask_with_notes(store, "2", key=replace(CHAT, chat="moved"), words="Said early.")
        await store.receive(Migrated(key=CHAT, event_id="3", new_chat="moved", sent_at=THEN), Triage.PENDING)
        assert await known(store, old) == [WORDS]
        assert (await claimed(store)).question.attachments == (Attached(NOTES, "Said early."),)
        assert await known(store, early) == ["Said early."]


async def _forget_message(store: SqlStore, message: int, _: Clock) -> None:
    await store.forget_message(message)


async def _forget_person(store: SqlStore, _: int, __: Clock) -> None:
    await store.forget_person("telegram", "ann")


async def _delete(store: SqlStore, _: int, __: Clock) -> None:
    await store.receive(deleted("1"), Triage.PENDING)


async def _expire(store: SqlStore, _: int, clock: Clock) -> None:
    clock.pass_(days=31)
    await store.expire(clock.now, 30)


async def _delete_conversation(store: SqlStore, _: int, __: Clock) -> None:
    await store.delete_conversation((await store.conversation(CHAT)).id)


WAYS = {
    "forget": _forget_message,
    "forgetme": _forget_person,
    "deleted": _delete,
    "conversation": _delete_conversation,
    "retention": _expire,
}
Way = Callable[[SqlStore, int, Clock], Awaitable[None]]


class TestRemoval:
    """What was read goes with the last message that has it, and nothing brings it back."""

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    async def test_it_goes_with_its_message_and_nothing_brings_it_back(
        self, store: SqlStore, clock: Clock, database_url: str, way: Way
    ) -> None:
        message = await ask_with_notes(store)
        await answer(store, "a lantern")
        assert rows(database_url) == (1, 1)
        await way(store, message, clock)
        assert rows(database_url) == (0, 0)
        await store.record_read(message, [reading()])
        assert (await ask(store, "1", attachments=(NOTES,))).duplicate
        assert rows(database_url) == (0, 0)

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    async def test_every_version_of_an_edited_question_goes(
        self, store: SqlStore, clock: Clock, database_url: str, way: Way
    ) -> None:
        message = await ask_with_notes(store)
        await answer(store)
        await store.receive(edited("1", "and what is that?"), Triage.PENDING)
        await answer(store)
        assert rows(database_url) == (2, 1)
        await way(store, message, clock)
        assert rows(database_url) == (0, 0)

    async def test_a_question_that_waits_or_is_being_answered_goes_with_it(
        self, store: SqlStore, database_url: str
    ) -> None:
        begun = await ask_with_notes(store)
        await claimed(store)
        waiting = await ask_with_notes(store, "2")
        await store.receive(deleted("1"), Triage.PENDING)
        assert await known(store, waiting) == [WORDS]
        await store.receive(deleted("2"), Triage.PENDING)
        assert await store.history(begun) == []
        assert rows(database_url) == (0, 0)

    async def test_with_retention_0_it_goes_with_the_answer(self, open_store: OpenStore, database_url: str) -> None:
        store = await open_store(default_retention_days=0)
        await ask_with_notes(store)
        claim = await claimed(store)
        assert claim.question.attachments == (Attached(NOTES, WORDS),)
        await store.close(claim, AnswerState.DONE, finished("a lantern", claim.question.id))
        assert rows(database_url) == (0, 0)

    async def test_a_conversations_own_retention_of_0_counts(self, store: SqlStore, database_url: str) -> None:
        await store.set_settings((await store.conversation(CHAT)).id, Settings(retention_days=0))
        await ask_with_notes(store)
        claim = await claimed(store)
        await store.close(claim, AnswerState.FAILED, None)
        assert rows(database_url) == (0, 0)

    async def test_a_forgetme_that_brings_a_file_leaves_none(self, store: SqlStore, database_url: str) -> None:
        received = await ask(store, "1", "/forgetme", attachments=(NOTES,))
        assert received.message is not None
        await store.record_read(received.message, [reading()])
        claim = await claimed(store)
        await store.forget_person("telegram", "ann", but=claim.id)
        word = Finished(outcome=AnswerState.DONE, text="Done.", moves_head=False, erase=True)
        await store.close(claim, AnswerState.DONE, word)
        assert rows(database_url) == (0, 0)

    async def test_equal_bytes_of_two_people_are_kept_once_and_one_may_leave(
        self, store: SqlStore, database_url: str
    ) -> None:
        await ask_with_notes(store, "1", key=GROUP)
        await answer(store)
        bens = await ask_with_notes(store, "2", key=GROUP, by=BEN)
        await answer(store)
        assert rows(database_url) == (2, 1)
        await store.forget_person("discord", "ann")
        assert rows(database_url) == (1, 1)
        assert await known(store, bens) == [WORDS]
        await store.forget_person("discord", "ben")
        assert rows(database_url) == (0, 0)

    async def test_what_another_reader_made_of_the_same_bytes_is_apart(
        self, store: SqlStore, database_url: str
    ) -> None:
        one = await ask_with_notes(store)
        received = await ask(store, "2", attachments=(NOTES, SONG))
        assert received.message is not None
        sung = reading(number=1, reader="singer@1")
        assert sung.content is not None
        sung = replace(sung, content=replace(sung.content, words="Tralala"))
        await store.record_read(received.message, [reading(), sung])
        await claimed(store)
        assert rows(database_url) == (3, 2)
        await store.forget_message(received.message)
        assert rows(database_url) == (1, 1)
        assert await known(store, one) == [WORDS]

    async def test_the_last_two_holders_that_go_at_once_take_it_along(
        self, open_store: OpenStore, database_url: str
    ) -> None:
        """Two processes on PostgreSQL: each sees the other's message as long as that is not committed."""
        store = await open_store()
        for number in range(15):
            keys = [replace(CHAT, chat=f"{side}{number}") for side in "ab"]
            messages = [await ask_with_notes(store, "1", key=key) for key in keys]
            await asyncio.gather(*(store.forget_message(message) for message in messages))
            assert rows(database_url) == (0, 0)

    async def test_what_is_read_while_its_message_goes_leaves_nothing(self, store: SqlStore, database_url: str) -> None:
        """Whichever of the two is first."""
        for turn in range(10):
            keys = [replace(CHAT, chat=f"{turn}-{number}") for number in range(10)]
            messages = [(await ask(store, "1", key=key, attachments=(NOTES,))).message or 0 for key in keys]
            both = [
                call(message)
                for number, message in enumerate(messages)
                for call in (
                    lambda message: store.record_read(message, [reading(f"{message}")]),
                    store.forget_message,
                )[:: 1 if number % 2 else -1]
            ]
            await asyncio.gather(*both)
            assert rows(database_url) == (0, 0)

    async def test_what_is_read_again_while_its_last_holder_goes_is_kept(
        self, store: SqlStore, database_url: str
    ) -> None:
        for number in range(15):
            old = await ask_with_notes(store, "1", key=replace(CHAT, chat=f"a{number}"))
            received = await ask(store, "1", key=replace(CHAT, chat=f"b{number}"), attachments=(NOTES,))
            assert received.message is not None
            writing = store.record_read(received.message, [reading()])
            await asyncio.gather(*([writing, store.forget_message(old)][:: 1 if number % 2 else -1]))
            assert await known(store, received.message) == [WORDS]
            await store.forget_message(received.message)
            assert rows(database_url) == (0, 0)


DIGEST = sha256(b"OggS").hexdigest()
VOICE = Attachment(kind="voice", name="voice.ogg", media_type="audio/ogg", size=4, reference=DIGEST, data=b"OggS")


def heard(words: str = "good morning", *, data: bytes | None = None, number: int = 0) -> Reading:
    """What was said in VOICE."""
    content = Content(
        hash=DIGEST,
        reader="speech",
        media_type="audio/ogg",
        size=4,
        words=words,
        speech=Speech("en", 1.5),
        data=data,
    )
    return Reading(number=number, content=content)


async def ask_by_voice(store: SqlStore, event_id: str = "1", typed: str = "", *, key: ConversationKey = CHAT) -> int:
    received = await ask(store, event_id, typed, key=key, attachments=(VOICE,))
    assert received.message is not None
    return received.message


class TestSpeech:
    """What was said in a recording is the message's text."""

    async def test_it_comes_behind_what_was_typed(self, store: SqlStore) -> None:
        message = await ask_by_voice(store, typed="Hear this:")
        await store.record_read(message, [heard()])
        claim = await claimed(store)
        assert claim.question.text == "Hear this:\n\ngood morning"
        assert claim.event.text == "Hear this:"
        assert (await store.history(message))[-1].text == "Hear this:\n\ngood morning"

    async def test_its_language_and_length_come_with_it(self, store: SqlStore) -> None:
        message = await ask_by_voice(store)
        await store.record_read(message, [heard()])
        [item] = (await store.history(message))[-1].attachments if (await claimed(store)) else ()
        assert (item.words, item.speech) == ("good morning", Speech("en", 1.5))

    async def test_a_new_caption_leaves_it(self, store: SqlStore) -> None:
        message = await ask_by_voice(store, typed="one")
        await store.record_read(message, [heard()])
        await store.receive(edited("1", "two"), Triage.PENDING)
        assert (await claimed(store)).question.text == "two\n\ngood morning"

    async def test_a_conversation_that_begins_with_it_is_called_by_it(self, store: SqlStore) -> None:
        await store.record_read(await ask_by_voice(store), [heard()])
        await answer(store)
        await ask(store, "2", "and now?")
        [thread] = await store.threads("telegram", "bot", "chat")
        assert thread.opening == "good morning"

    async def test_one_that_was_not_heard_gives_no_name(self, store: SqlStore) -> None:
        await ask_by_voice(store)
        await ask(store, "2", "and now?")
        [thread] = await store.threads("telegram", "bot", "chat")
        assert thread.opening == "and now?"

    async def test_the_export_has_it(self, store: SqlStore) -> None:
        message = await ask_by_voice(store)
        await store.record_read(message, [heard()])
        await answer(store)
        conversation = (await store.export("telegram", "ann")).data["conversations"][0]  # type: ignore[index]
        [item] = conversation["messages"][0]["attachments"]
        assert (item["words"], item["language"], item["heard_seconds"]) == ("good morning", "en", 1.5)
        assert conversation["messages"][0]["text"] == "good morning"


class TestHeldFiles:
    """The file of a face that has no place of its own is held until it was read, and is its person's data."""

    async def test_it_is_there_until_it_was_read(self, store: SqlStore, database_url: str) -> None:
        message = await ask_by_voice(store)
        assert await store.file(DIGEST) == b"OggS"
        claim = await claimed(store)
        assert claim.question.attachments == (Attached(VOICE),)
        await store.record_read(message, [heard()])
        assert await store.file(DIGEST) is None
        assert rows(database_url) == (1, 1)

    async def test_it_goes_also_if_nothing_could_be_read(self, store: SqlStore, database_url: str) -> None:
        message = await ask_by_voice(store)
        await store.record_read(message, [Reading(number=0, content=None, unread="damaged")])
        assert await store.file(DIGEST) is None
        assert rows(database_url) == (1, 0)

    async def test_it_stays_beside_the_words_if_that_is_wanted(self, store: SqlStore) -> None:
        message = await ask_by_voice(store)
        await store.record_read(message, [heard(data=b"OggS")])
        assert await store.file(DIGEST) == b"OggS"
        await answer(store)
        assert await known(store, message) == ["good morning"]
        conversation = (await store.export("telegram", "ann")).data["conversations"][0]  # type: ignore[index]
        assert conversation["messages"][0]["attachments"][0]["data"] == "T2dnUw=="

    async def test_equal_files_are_held_once_each_until_it_was_read(self, store: SqlStore, database_url: str) -> None:
        one = await ask_by_voice(store, "1")
        two = await ask_by_voice(store, "2", key=replace(CHAT, chat="other"))
        assert rows(database_url) == (2, 1)
        await store.record_read(one, [heard()])
        assert await store.file(DIGEST) == b"OggS"
        await store.record_read(two, [heard()])
        assert await store.file(DIGEST) is None
        assert rows(database_url) == (2, 1)

    @pytest.mark.parametrize("how", ["forgetme", "delete", "event"])
    async def test_it_goes_with_its_message(self, store: SqlStore, database_url: str, how: str) -> None:
        message = await ask_by_voice(store)
        if how == "forgetme":
            await store.forget_person("telegram", "ann")
        elif how == "delete":
            await store.forget_message(message)
        else:
            await store.receive(deleted("1"), Triage.PENDING)
        assert await store.file(DIGEST) is None
        assert rows(database_url) == (0, 0)

    async def test_a_message_that_comes_twice_brings_it_once(self, store: SqlStore, database_url: str) -> None:
        await ask_by_voice(store)
        assert (await ask(store, "1", "", attachments=(VOICE,))).duplicate
        assert rows(database_url) == (1, 1)


class TestExport:
    """A person's documents are the person's data."""

    async def test_it_holds_ones_own_documents_and_nobody_elses(self, store: SqlStore) -> None:
        await ask_with_notes(store, "1", key=GROUP)
        await answer(store)
        await ask_with_notes(store, "2", key=GROUP, by=BEN, words="Ben's diary.")
        claim = await claimed(store)
        await send(store, claim, "m1")
        data = (await store.export("discord", "ann")).data
        messages = data["conversations"][0]["messages"]  # type: ignore[index]
        assert messages[0]["attachments"] == [
            {
                "kind": "file",
                "name": "notes.txt",
                "media_type": "text/plain",
                "size": 15,
                "reference": "f1",
                "duration": None,
                "words": WORDS,
                "unread": "",
            }
        ]
        assert "diary" not in json.dumps(data)

    async def test_time_leaves_the_words_of_what_is_not_old(self, store: SqlStore, clock: Clock) -> None:
        await ask_with_notes(store)
        await answer(store)
        clock.pass_(days=20)
        young = await ask_with_notes(store, "2")
        await answer(store)
        await store.expire(clock.now + timedelta(days=11), 30)
        assert await known(store, young) == [WORDS]
