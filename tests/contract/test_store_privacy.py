"""What the store promises about people's data, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.errors import LeaseLost
from bot.messages import ActionName, AnswerState, Attachment, Finished, MessageRef, Settings, Triage
from bot.ports import Forgotten
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import (
    BEN,
    CHAT,
    GROUP,
    answer,
    ask,
    claimed,
    edited,
    finished,
    overhear,
    pressed,
    send,
    texts,
)


class TestForgetMessage:
    """One message goes, with the answer to it; the rest of the tree stays connected."""

    async def test_a_question_goes_with_its_answer(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store, "eins", "m1")
        await ask(store, "2", "two")
        middle, _ = await answer(store, "zwei", "m2")
        await ask(store, "3", "three")
        _, tip = await answer(store, "drei")
        assert await store.forget_message(middle.question.id) == Forgotten(messages=2, answers=1)
        assert await texts(store, tip) == ["one", "eins", "three", "drei"]
        assert await store.find_sent(CHAT, "m2") is None
        assert await store.find_sent(CHAT, "2") is None
        assert (await ask(store, "2", "two")).duplicate

    async def test_the_head_moves_back(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, first = await answer(store, "eins")
        await ask(store, "2", "two")
        last, _ = await answer(store, "zwei")
        await store.forget_message(last.question.id)
        assert (await store.conversation(CHAT)).head == first

    async def test_an_answer_goes_alone(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, first = await answer(store, "eins", "m1")
        await ask(store, "2", "two")
        _, tip = await answer(store, "zwei")
        assert await store.forget_message(first) == Forgotten(messages=1, answers=1)
        assert await texts(store, tip) == ["one", "two", "zwei"]
        assert await store.find_sent(CHAT, "m1") is None

    async def test_every_version_of_an_edited_question_goes(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, old = await answer(store, "eins")
        await store.receive(edited("1", "two"), Triage.PENDING)
        claim, new = await answer(store, "zwei")
        assert await store.forget_message(claim.question.id) == Forgotten(messages=4, answers=2)
        assert await store.history(old) == await store.history(new) == []

    async def test_the_answers_of_retries_go_too(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        claim, first = await answer(store, "eins")
        await store.receive(pressed("p1", ActionName.RETRY), Triage.PENDING)
        _, second = await answer(store, "uno")
        await ask(store, "2", "/retry")
        command = await claimed(store)
        third = await store.close(command, AnswerState.DONE, finished("un", claim.question.id))
        assert await store.forget_message(claim.question.id) == Forgotten(messages=4, answers=3)
        for tip in (first, second, third[-1]):
            assert await store.history(tip) == []

    async def test_a_question_being_answered_ends_with_what_was_sent(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        claim = await claimed(store)
        await send(store, claim, "m1")
        assert await store.forget_message(claim.question.id) == Forgotten(
            messages=1, answers=1, superseded=(claim.id,), orphans=(MessageRef(CHAT, "m1"),)
        )

    async def test_a_waiting_question_is_not_answered(self, store: SqlStore) -> None:
        received = await ask(store, "1", "one")
        await ask(store, "2", "two")
        assert received.message is not None
        assert await store.forget_message(received.message) == Forgotten(messages=1, answers=1)
        assert (await claimed(store)).event.text == "two"

    async def test_a_stored_cut_moves_on(self, store: SqlStore) -> None:
        for number in ("1", "2", "3"):
            await ask(store, number, number)
            claim = await claimed(store)
            cut = claim.question.id if number == "2" else None
            new = await store.close(
                claim, AnswerState.DONE, finished(f"to {number}", claim.question.id, window_start=cut)
            )
            middle = claim.question.id if number == "2" else 0
            if middle:
                forgotten = middle
        await store.forget_message(forgotten)
        assert await texts(store, new[-1]) == ["3", "to 3"]

    async def test_what_is_not_there_cannot_be_forgotten(self, store: SqlStore) -> None:
        assert await store.forget_message(12345) == Forgotten(messages=0, answers=0)


class TestForgetPerson:
    """Everything of one person goes and does not come back; others keep theirs."""

    async def test_private_and_group_talk_go_and_others_stay(self, store: SqlStore) -> None:
        await ask(store, "1", "private")
        _, private = await answer(store, "pst", "m1")
        await ask(store, "2", "from ben", key=GROUP, by=BEN)
        await answer(store, "to ben")
        await ask(store, "3", "from ann", key=replace(GROUP, platform="telegram"))
        await answer(store, "to ann")
        await ask(store, "4", "ann here", key=GROUP)
        await answer(store, "to ann here")
        await ask(store, "5", "ben again", key=GROUP, by=BEN)
        _, tip = await answer(store, "to ben again")
        assert await store.forget_person("discord", "ann") == Forgotten(messages=2, answers=1)
        assert await texts(store, tip) == ["from ben", "to ben", "ben again", "to ben again"]
        assert await texts(store, private) == ["private", "pst"]
        assert await store.forget_person("telegram", "ann") == Forgotten(messages=4, answers=2)
        assert await store.history(private) == []
        assert await store.find_sent(CHAT, "m1") is None

    async def test_nothing_brings_it_back(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store)
        await ask(store, "2", "waiting")
        await store.forget_person("telegram", "ann")
        assert await store.pending() == 0
        for event_id in ("1", "2"):
            assert (await ask(store, event_id, "again")).duplicate
            assert not (await store.receive(edited(event_id, "edited"), Triage.PENDING)).work
        assert (await store.export("telegram", "ann")).data["conversations"] == []

    async def test_settings_and_counters_go(self, store: SqlStore) -> None:
        await ask(store, "1")
        await answer(store)
        place = await store.conversation(CHAT)
        await store.set_settings(
            place.id, Settings(system_prompt="I am Ann's butler.", retention_days=3, transcripts="never")
        )
        await store.forget_person("telegram", "ann")
        after = await store.conversation(CHAT)
        assert (after.settings, after.head) == (Settings(), None)
        assert await store.usage() == []

    async def test_settings_go_although_no_message_is_left(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        await answer(store)
        await store.set_settings((await store.conversation(CHAT)).id, Settings(system_prompt="I am Ann's butler."))
        await store.expire(clock.now + timedelta(days=31), 30)
        await store.forget_person("telegram", "ann")
        assert (await store.conversation(CHAT)).settings == Settings()

    async def test_an_answer_in_progress_ends(self, store: SqlStore) -> None:
        await ask(store, "0")
        await answer(store, "done", "m0")
        await ask(store, "1")
        claim = await claimed(store)
        await send(store, claim, "m1")
        await store.keep(claim, finished("well", claim.question.id))
        assert await store.forget_person("telegram", "ann") == Forgotten(
            messages=3, answers=2, superseded=(claim.id,), orphans=(MessageRef(CHAT, "m1"),)
        )
        with pytest.raises(LeaseLost):
            await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))

    async def test_the_word_about_it_can_still_be_said_and_is_erased_then(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store)
        await ask(store, "2", "/forgetme")
        claim = await claimed(store)
        await send(store, claim, "m2")
        assert await store.forget_person("telegram", "ann", but=claim.id) == Forgotten(messages=2, answers=1)
        word = Finished(outcome=AnswerState.DONE, text="Done.", moves_head=False, erase=True)
        await store.keep(claim, word)
        assert await store.close(claim, AnswerState.DONE, word) == ()
        assert await store.find_sent(CHAT, "m2") is None
        assert await store.find_sent(CHAT, "2") is None
        assert await store.history(claim.question.id) == []
        assert (await store.export("telegram", "ann")).data["conversations"] == []
        assert (await ask(store, "2", "/forgetme")).duplicate

    async def test_their_conversations_are_there_no_more(self, store: SqlStore) -> None:
        thread = replace(CHAT, thread="7")
        await ask(store, "1")
        await answer(store)
        await ask(store, "2", key=thread, direct=True)
        await ask(store, "3", key=GROUP)
        await ask(store, "4", key=replace(CHAT, chat="ben's"), by=BEN, direct=True)
        claim = await claimed(store)
        assert claim.event.event_id == "2"
        await store.forget_person("telegram", "ann", but=claim.id)
        assert await store.find_conversation(CHAT) is None
        assert await store.find_conversation(thread) is not None
        word = Finished(outcome=AnswerState.DONE, text="Done.", moves_head=False, erase=True)
        await store.close(claim, AnswerState.DONE, word)
        assert await store.find_conversation(thread) is None
        assert await store.find_conversation(GROUP) is not None
        assert await store.find_conversation(replace(CHAT, chat="ben's")) is not None
        for key in (CHAT, thread):
            for event_id in ("1", "2"):
                assert (await ask(store, event_id, key=key)).duplicate

    async def test_a_group_keeps_its_settings(self, store: SqlStore) -> None:
        """Also one in which nobody else has said anything yet."""
        place = await store.conversation(GROUP, direct=False)
        await store.set_settings(place.id, Settings(persona="pirate"))
        await ask(store, "1", "/forgetme", key=GROUP)
        claim = await claimed(store)
        await store.forget_person("discord", "ann", but=claim.id)
        word = Finished(outcome=AnswerState.DONE, text="Done.", moves_head=False, erase=True)
        await store.close(claim, AnswerState.DONE, word)
        assert await store.find_conversation(GROUP) == replace(place, settings=Settings(persona="pirate"))

    async def test_a_question_that_is_not_kept_goes_alone(self, store: SqlStore) -> None:
        """Its conversation and the settings there stay, and it does not come back."""
        await ask(store, "1", "one")
        _, tip = await answer(store, "eins")
        await store.set_settings((await store.conversation(CHAT)).id, Settings(persona="pirate"))
        await ask(store, "2", "")
        await ask(store, "3", "three")
        claim = await claimed(store)
        await send(store, claim, "m2")
        word = Finished(outcome=AnswerState.FAILED, text="What is that?", unkept=True)
        await store.keep(claim, word)
        assert await store.close(claim, AnswerState.FAILED, word) == ()
        assert await store.find_sent(CHAT, "m2") is None
        assert await store.find_sent(CHAT, "2") is None
        place = await store.conversation(CHAT)
        assert (place.head, place.settings.persona) == (tip, "pirate")
        assert (await ask(store, "2", "again")).duplicate
        assert (await claimed(store)).event.text == "three"

    async def test_what_came_meanwhile_keeps_its_conversation(self, store: SqlStore) -> None:
        """But none of its settings."""
        await ask(store, "1", "/forgetme")
        claim = await claimed(store)
        own = Settings(model="m", persona="p", system_prompt="s", retention_days=9, transcripts="never")
        await store.set_settings(claim.conversation.id, own)
        await store.forget_person("telegram", "ann", but=claim.id)
        assert (await store.conversation(CHAT)).settings == Settings()
        await ask(store, "2", "still here")
        word = Finished(outcome=AnswerState.DONE, text="Done.", moves_head=False, erase=True)
        await store.close(claim, AnswerState.DONE, word)
        _, tip = await answer(store, "yes")
        assert await texts(store, tip) == ["still here", "yes"]
        assert await store.is_open(CHAT, "2") is False

    async def test_who_writes_again_begins_anew(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        await answer(store)
        await store.forget_person("telegram", "ann")
        await ask(store, "2", "two")
        _, tip = await answer(store, "zwei")
        assert await texts(store, tip) == ["two", "zwei"]
        assert await store.forget_person("telegram", "ann") == Forgotten(messages=2, answers=1)

    async def test_it_holds_while_others_write(self, store: SqlStore) -> None:
        for number in range(10):
            await ask(store, str(number), key=GROUP)
            await answer(store)
        writing = [ask(store, f"b{n}", "ben", key=GROUP, by=BEN) for n in range(10)]
        await asyncio.gather(store.forget_person("discord", "ann"), *writing)
        assert await store.forget_person("discord", "ann") == Forgotten(messages=0, answers=0)
        for _ in range(10):
            _, tip = await answer(store, "yes")
        assert await texts(store, tip) == ["ben", "yes"] * 10


class TestExport:
    """Everything of one person, and nothing of others."""

    async def test_it_holds_what_was_said_and_answered(self, store: SqlStore) -> None:
        note = Attachment(kind="file", name="cv.pdf", media_type="application/pdf", size=9, reference="f1")
        await ask(store, "1", "one", attachments=(note,), interaction="secret token")
        await answer(store, "eins")
        await overhear(store, "2", "ben's words")
        await ask(store, "3", "in the group", key=GROUP)
        await answer(store, "to ann")
        await ask(store, "4", "from ben", key=GROUP, by=BEN)
        await answer(store, "to ben")
        await store.set_settings((await store.conversation(CHAT)).id, Settings(persona="pirate", transcripts="asked"))
        private = (await store.export("telegram", "ann")).data
        text = json.dumps(private)
        assert [conversation["conversation"] for conversation in private["conversations"]] == ["telegram/bot/chat"]  # type: ignore[attr-defined]
        assert '"one"' in text
        assert '"eins"' in text
        assert "cv.pdf" in text
        assert '"persona": "pirate"' in text
        assert '"transcripts": "asked"' in text
        assert "secret token" not in text
        assert private["person"] == {"platform": "telegram", "id": "ann"}
        assert private["usage"] == await store.usage(platform="telegram", author="ann")
        group = json.dumps((await store.export("discord", "ann")).data)
        assert "in the group" in group
        assert "to ann" in group
        assert "ben" not in group.lower()

    async def test_of_a_stranger_there_is_nothing(self, store: SqlStore) -> None:
        await ask(store, "1")
        data = (await store.export("telegram", "nobody")).data
        assert (data["conversations"], data["usage"]) == ([], [])


class TestExpire:
    """Time removes what is older than its retention, and the marks of events long after."""

    async def test_what_is_old_goes_and_what_is_not_stays_connected(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1", "old")
        await answer(store, "alt", "m1")
        clock.pass_(days=20)
        await ask(store, "2", "new")
        _, tip = await answer(store, "neu")
        clock.pass_(days=11)
        assert await store.expire(clock.now, 30) == Forgotten(messages=2, answers=1)
        assert await texts(store, tip) == ["new", "neu"]
        assert await store.find_sent(CHAT, "m1") is None
        assert await store.expire(clock.now, 30) == Forgotten(messages=0, answers=0)
        assert (await ask(store, "1")).duplicate

    async def test_a_conversation_keeps_its_own_days(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1", "short")
        _, short = await answer(store, "kurz")
        await ask(store, "2", "long", key=GROUP)
        _, long = await answer(store, "lang")
        await store.set_settings((await store.conversation(CHAT)).id, Settings(retention_days=2))
        await store.set_settings((await store.conversation(GROUP)).id, Settings(retention_days=400))
        clock.pass_(days=100)
        await store.expire(clock.now, 30)
        assert await texts(store, short) == []
        assert await texts(store, long) == ["long", "lang"]
        assert (await ask(store, "2", key=GROUP)).duplicate

    async def test_when_all_is_gone_a_new_line_begins(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        await answer(store)
        clock.pass_(days=40)
        await store.expire(clock.now, 30)
        place = await store.conversation(CHAT)
        assert place.head is None
        assert place.first_day == clock.now.date()

    async def test_a_question_that_waits_is_spared(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1", "one")
        clock.pass_(days=40)
        await store.expire(clock.now, 30)
        assert (await claimed(store)).event.text == "one"

    async def test_marks_of_events_go_after_90_days(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1")
        await answer(store)
        clock.pass_(days=89)
        await store.expire(clock.now, 30)
        assert (await ask(store, "1")).duplicate
        clock.pass_(days=2)
        await store.expire(clock.now, 30)
        assert (await ask(store, "1")).work

    async def test_many_go_in_several_transactions(self, open_store: OpenStore, clock: Clock) -> None:
        store = await open_store()
        places = [replace(CHAT, chat=str(number)) for number in range(40)]
        for number in range(30):
            await asyncio.gather(*(overhear(store, str(number), "x", key=key) for key in places))
        clock.pass_(days=31)
        assert await store.expire(clock.now, 30) == Forgotten(messages=1200, answers=0)
