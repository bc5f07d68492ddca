"""What the store promises about lists of conversations, titles, their end and counts, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from bot.errors import LeaseLost
from bot.messages import AnswerState, Author, ConversationKey, Finished, MessageRef, Settings, Triage
from bot.ports import Forgotten
from bot.records import PlatformCount, Thread
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import ANN, BEN, CHAT, GROUP, answer, ask, claimed, edited, finished, overhear, said, send

PAGE = ConversationKey("web", "local", "ann", "one")
OTHER = replace(PAGE, thread="two")
BENS = replace(PAGE, chat="ben")
WORD = Finished(outcome=AnswerState.DONE, text="Done.", moves_head=False)


async def tell(store: SqlStore, event: str, words: str, *, key: ConversationKey = PAGE, by: Author = ANN) -> int:
    """A question, answered; returns the id of its conversation."""
    await ask(store, event, words, key=key, by=by, direct=True)
    claim, _ = await answer(store, "well")
    return claim.conversation.id


async def mine(store: SqlStore) -> list[Thread]:
    return await store.threads("web", "local", "ann")


class TestThreads:
    """A person's conversations, newest first."""

    async def test_each_with_its_first_words_and_when_it_was_last_used(self, store: SqlStore, clock: Clock) -> None:
        first = await tell(store, "1", "How do bees\n fly?")
        began = clock.now
        clock.pass_(hours=1)
        second = await tell(store, "2", "And  birds?", key=OTHER)
        await tell(store, "3", "Mine!", key=BENS, by=BEN)
        assert [(one.conversation.id, one.last_at, one.opening, one.waiting) for one in await mine(store)] == [
            (second, clock.now, "And birds?", False),
            (first, began, "How do bees fly?", False),
        ]
        clock.pass_(hours=1)
        await ask(store, "4", "And then?", key=PAGE, direct=True)
        found = await mine(store)
        assert [(one.conversation.key, one.last_at, one.opening, one.waiting) for one in found] == [
            (PAGE, clock.now, "How do bees fly?", True),
            (OTHER, clock.now - timedelta(hours=1), "And birds?", False),
        ]
        assert found[0].conversation == await store.conversation(PAGE)

    async def test_an_answer_in_progress_waits_too(self, store: SqlStore) -> None:
        await ask(store, "1", key=PAGE, direct=True)
        claim = await claimed(store)
        assert (await mine(store))[0].waiting
        await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        assert not (await mine(store))[0].waiting

    async def test_commands_and_empty_texts_open_nothing(self, store: SqlStore) -> None:
        await ask(store, "1", "/help", key=PAGE, direct=True)
        await store.close(await claimed(store), AnswerState.DONE, WORD)
        await tell(store, "2", "")
        assert [one.opening for one in await mine(store)] == [""]
        await tell(store, "3", "words " * 100)
        assert [one.opening for one in await mine(store)] == ["words " * 13 + "w…"]

    async def test_an_empty_one_is_there_if_it_has_a_title_or_settings(self, store: SqlStore, clock: Clock) -> None:
        place = await store.conversation(PAGE, person="ann")
        assert await mine(store) == []
        assert await store.find_conversation(PAGE) == place
        await store.set_settings(place.id, Settings(persona="pirate"))
        found = await mine(store)
        assert [(one.conversation.settings, one.last_at, one.opening, one.waiting) for one in found] == [
            (Settings(persona="pirate"), clock.now, "", False)
        ]
        await store.set_settings(place.id, Settings())
        await store.set_title(place.id, "Bees")
        assert [one.conversation.title for one in await mine(store)] == ["Bees"]

    async def test_of_a_stranger_there_are_none(self, store: SqlStore) -> None:
        await tell(store, "1", "one")
        for place in (("web", "local", "zoe"), ("web", "other", "ann"), ("telegram", "local", "ann")):
            assert await store.threads(*place) == []


class TestTitles:
    """The name of a conversation is its owner's words."""

    async def test_it_comes_with_the_conversation(self, store: SqlStore) -> None:
        place = await tell(store, "1", "one")
        assert (await store.conversation(PAGE)).title == ""
        await store.set_title(place, "Bees \x00 & birds\ud800")
        known = await store.find_conversation(PAGE)
        assert known is not None
        assert known.title == "Bees \ufffd & birds\ufffd"
        await ask(store, "2", key=PAGE, direct=True)
        assert (await claimed(store)).conversation.title == known.title
        await store.set_title(place, "")
        assert (await store.conversation(PAGE)).title == ""
        await store.set_title(12345, "nowhere")

    async def test_it_goes_with_its_person(self, store: SqlStore) -> None:
        """Also where an answer in progress keeps the conversation, and before the first message."""
        await store.set_title((await store.conversation(OTHER, person="ann")).id, "Secret plans")
        await store.set_title(await tell(store, "1", "one"), "Bees")
        await store.set_title(await tell(store, "2", "mine", key=BENS, by=BEN), "Birds")
        await ask(store, "3", "/forgetme", key=PAGE, direct=True)
        claim = await claimed(store)
        await store.forget_person("web", "ann", but=claim.id)
        assert (await store.conversation(PAGE)).title == ""
        assert await store.find_conversation(OTHER) is None
        await store.close(claim, AnswerState.DONE, replace(WORD, erase=True))
        assert await store.find_conversation(PAGE) is None
        assert (await store.conversation(BENS)).title == "Birds"

    async def test_it_goes_with_the_last_message_that_time_removes(self, store: SqlStore, clock: Clock) -> None:
        for number, key in enumerate((PAGE, OTHER)):
            await store.set_title(await tell(store, str(number), "one", key=key), "Bees")
        clock.pass_(days=20)
        await tell(store, "9", "two")
        clock.pass_(days=11)
        await store.expire(clock.now, 30)
        assert (await store.conversation(PAGE)).title == "Bees"
        assert (await store.conversation(OTHER)).title == ""
        assert [one.conversation.key for one in await mine(store)] == [PAGE]
        clock.pass_(days=20)
        await store.expire(clock.now, 30)
        assert await mine(store) == []

    async def test_that_of_a_new_conversation_is_as_old_as_the_conversation(
        self, store: SqlStore, clock: Clock
    ) -> None:
        await store.set_title((await store.conversation(PAGE, person="ann")).id, "Bees")
        clock.pass_(days=29)
        await store.expire(clock.now, 30)
        assert (await store.conversation(PAGE)).title == "Bees"
        clock.pass_(days=2)
        await store.expire(clock.now, 30)
        assert (await store.conversation(PAGE)).title == ""

    async def test_with_retention_0_it_does_not_stay(self, open_store: OpenStore, clock: Clock) -> None:
        store = await open_store(default_retention_days=0)
        await store.set_title((await store.conversation(PAGE, person="ann")).id, "Bees")
        await ask(store, "1", key=PAGE, direct=True)
        claim = await claimed(store)
        await store.expire(clock.now, 0)
        assert (await store.conversation(PAGE)).title == "Bees"
        await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        clock.pass_(hours=1)
        await store.expire(clock.now, 0)
        assert (await store.conversation(PAGE)).title == ""

    async def test_it_is_exported(self, store: SqlStore) -> None:
        await store.set_title(await tell(store, "1", "one"), "Bees")
        await store.set_title((await store.conversation(OTHER, person="ann")).id, "Birds")
        await store.set_title(await tell(store, "2", "mine", key=BENS, by=BEN), "Ben's")
        data = (await store.export("web", "ann")).data
        conversations: list[dict[str, object]] = data["conversations"]  # type: ignore[assignment]
        assert [(one["conversation"], one["title"]) for one in conversations] == [
            ("web/local/ann/one", "Bees"),
            ("web/local/ann/two", "Birds"),
        ]
        assert "Ben" not in json.dumps(data)


class TestOwner:
    """To whom a direct conversation belongs may be known before the first message."""

    async def test_settings_are_that_persons_data(self, store: SqlStore) -> None:
        place = await store.conversation(PAGE, person="ann")
        assert await store.conversation(PAGE, person="ann") == place
        await store.set_settings(place.id, Settings(system_prompt="I am Ann's butler."))
        assert "butler" in json.dumps((await store.export("web", "ann")).data)
        await store.forget_person("web", "ann")
        assert await store.find_conversation(PAGE) is None

    async def test_it_does_not_change_hands(self, store: SqlStore) -> None:
        await store.set_title((await store.conversation(PAGE, person="ann")).id, "Bees")
        await store.conversation(PAGE, person="ben")
        await store.forget_person("web", "ben")
        assert (await store.conversation(PAGE)).title == "Bees"


class TestDeleteConversation:
    """Everything of it goes and does not come back; the others stay."""

    async def test_messages_settings_and_title_go(self, store: SqlStore) -> None:
        place = await tell(store, "1", "one")
        await store.set_title(place, "Bees")
        await store.set_settings(place, Settings(system_prompt="I am Ann's butler."))
        await tell(store, "2", "/undo")
        await tell(store, "3", "other", key=OTHER)
        assert await store.delete_conversation(place) == Forgotten(messages=4, answers=2)
        assert await store.find_conversation(PAGE) is None
        assert await store.line(place) == []
        assert [one.opening for one in await mine(store)] == ["other"]
        assert await store.delete_conversation(place) == Forgotten(messages=0, answers=0)
        for key in (PAGE, OTHER):
            assert (await ask(store, "1", "one", key=key, direct=True)).duplicate
        assert "butler" not in json.dumps((await store.export("web", "ann")).data)

    async def test_every_branch_goes(self, store: SqlStore) -> None:
        place = await tell(store, "1", "one")
        for number in range(2, 5):
            event = said(str(number), "one!", key=PAGE, direct=True, follows=0)
            await store.receive(event, Triage.PENDING)
            await answer(store, "well")
        assert await store.delete_conversation(place) == Forgotten(messages=8, answers=4)
        assert await store.search("web", "local", "ann", "one") == []

    async def test_what_is_answered_ends_and_what_waits_goes(self, store: SqlStore) -> None:
        place = await tell(store, "1", "one")
        await ask(store, "2", "two", key=PAGE, direct=True)
        await ask(store, "3", "three", key=PAGE, direct=True)
        claim = await claimed(store)
        await send(store, claim, "m2")
        assert await store.delete_conversation(place) == Forgotten(
            messages=4, answers=3, superseded=(claim.id,), orphans=(MessageRef(PAGE, "m2"),)
        )
        with pytest.raises(LeaseLost):
            await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        assert await store.pending() == 0

    @pytest.mark.parametrize("way", ["delete", "forgetme"])
    async def test_no_row_of_it_is_left(self, store: SqlStore, database_url: str, way: str) -> None:
        """After all that can happen to an answer: commands, another answer, new text, a stop, what is in progress."""
        place = await tell(store, "1", "one")
        await ask(store, "2", "/help", key=PAGE, direct=True)
        await store.close(await claimed(store), AnswerState.DONE, WORD)
        await ask(store, "3", "/retry", key=PAGE, direct=True)
        claim = await claimed(store)
        await send(store, claim, "m3")
        await store.close(claim, AnswerState.DONE, finished("again", claim.question.id - 3))
        await ask(store, "4", "two", key=PAGE, direct=True)
        await claimed(store)
        await store.receive(edited("4", "two!", key=PAGE), Triage.PENDING)
        claim = await claimed(store)
        await send(store, claim, "m4")
        await store.close(claim, AnswerState.STOPPED, None)
        await store.forget_message(claim.question.id)
        await ask(store, "5", "three", key=PAGE, direct=True)
        await send(store, await claimed(store), "m5")
        await ask(store, "6", "four", key=PAGE, direct=True, follows=0)
        if way == "delete":
            await store.delete_conversation(place)
        else:
            await store.forget_person("web", "ann")
        engine = create_engine(database_url.replace("+aiosqlite", ""))
        with engine.connect() as connection:
            for table in ("conversations", "messages", "answers", "sent_parts"):
                assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0, table
        engine.dispose()

    async def test_who_writes_there_again_begins_anew(self, store: SqlStore) -> None:
        place = await tell(store, "1", "one")
        await store.set_title(place, "Bees")
        await store.delete_conversation(place)
        again = await tell(store, "2", "two")
        assert again != place
        found = await mine(store)
        assert [(one.conversation.title, one.opening) for one in found] == [("", "two")]

    async def test_a_group_is_as_if_it_had_never_been(self, store: SqlStore) -> None:
        await overhear(store, "1", "hm")
        await ask(store, "2", "what?", key=GROUP)
        claim, _ = await answer(store)
        await ask(store, "3", "private")
        await store.delete_conversation(claim.conversation.id)
        assert await store.find_conversation(GROUP) is None
        assert await store.find_conversation(CHAT) is not None
        assert (await ask(store, "2", "what?", key=GROUP)).duplicate

    async def test_the_counters_of_what_was_used_stay(self, store: SqlStore) -> None:
        await store.delete_conversation(await tell(store, "1", "one"))
        assert (await store.count_today("web", "ann")).completion_tokens == 3


class TestOverview:
    """How much there is, by platform and account, without a word of it."""

    async def test_it_counts(self, store: SqlStore) -> None:
        assert await store.overview() == []
        await tell(store, "1", "one")
        await tell(store, "2", "two", key=OTHER)
        await tell(store, "3", "three", key=BENS, by=BEN)
        await ask(store, "4", "four", key=PAGE, direct=True)
        await ask(store, "5", "five", key=PAGE, direct=True)
        await claimed(store)
        await overhear(store, "6", "hm")
        await store.conversation(CHAT)
        assert await store.overview() == [
            PlatformCount(platform="discord", account="bot", conversations=1, messages=1, people=1, waiting=0),
            PlatformCount(platform="telegram", account="bot", conversations=1, messages=0, people=0, waiting=0),
            PlatformCount(platform="web", account="local", conversations=3, messages=8, people=2, waiting=2),
        ]
