"""Which question next, one at a time in a conversation; stop, interrupt, edit, delete, retry."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bot import dispatcher
from bot.errors import DatabaseError, FloodWait, Unreachable
from bot.messages import ActionName, AnswerState, Author, Claim, ConversationKey, Finished, Left, MessageState, Role
from bot.testing import ScriptedEngine
from bot.testing_platform import Fault
from storage.store import SqlStore
from tests.house import ADA, BEA, DEADLINE, configuration, house, place, question, stalled, until

# Order


async def test_answers_come_in_the_order_of_the_questions(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        for number in range(8):
            await h.say(f"question {number}")
        await h.settled()
        assert h.texts() == [f"You said: question {number}" for number in range(8)]
        assert [question(prompt) for prompt in h.prompts()] == [f"question {number}" for number in range(8)]


async def test_a_conversation_has_one_answer_in_progress(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        await h.say("and then?")
        await h.say("and then??")
        await until(lambda: h.dispatcher.in_progress == 1, "one answer")
        assert await h.store.pending() == 3
        h.engine.resume.set()
        await h.settled()
        assert h.texts() == ["You said: tell me", "You said: and then?", "You said: and then??"]


async def test_many_conversations_are_answered_at_the_same_time(tmp_path: Path) -> None:
    config = configuration(models={"default": {"path": "scripted.fake", "slots": 64}})
    async with house(tmp_path, config) as h:
        h.engine.stall_after = 5
        for number in range(40):
            await h.say(f"hi {number}", chat=f"chat {number}", author=replace(ADA, id=str(number)))
        await until(lambda: h.engine.active == 40, "forty streams")
        h.engine.resume.set()
        await h.settled()
        assert [h.texts(f"chat {number}") for number in range(40)] == [[f"You said: hi {n}"] for n in range(40)]


async def test_no_more_conversations_at_once_than_configured(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(chat={"concurrent_conversations": 2})) as h:
        h.engine.stall_after = 5
        for number in range(5):
            await h.say("hi", chat=f"chat {number}", author=replace(ADA, id=str(number)))
        await until(lambda: h.engine.active == 2, "two streams")
        assert h.dispatcher.in_progress == 2
        h.engine.resume.set()
        await h.settled()
        assert [h.texts(f"chat {number}") for number in range(5)] == [["You said: hi"]] * 5


async def test_a_question_that_comes_in_any_moment_is_answered_without_waiting_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred, one after the other. No look comes by itself: the last would wait for ever after a lost wake-up."""
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 2 * DEADLINE)
    async with house(tmp_path, configuration(permissions={"messages_per_minute": 10_000})) as h:
        for number in range(100):
            await h.say("/help", chat=f"chat {number % 7}")
            await asyncio.sleep(0)
        await h.settled()
        assert len(h.platform.messages) == 100


# Stop


async def test_stop_frees_the_engine_and_keeps_what_there_is(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        await h.press(ActionName.STOP)
        await h.settled()
        assert h.engine.active == 0
        assert h.texts() == ["You s", "Stopping."]
        assert await h.line() == [(Role.USER, "tell me"), (Role.ASSISTANT, "You s")]
        last = (await h.store.history((await h.conversation()).head))[-1]
        assert (last.state, last.token_ids) == (MessageState.STOPPED, tuple(b"You s"))


async def test_a_typed_stop_takes_effect_at_once(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        await h.say("what else")
        await h.say("/stop")
        h.engine.stall_after = None
        await h.settled()
        assert h.texts() == ["You s", "Stopping.", "You said: what else"]


async def test_stop_in_prefill_frees_the_engine(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.engine.stall_in_prefill = True
        await h.say("tell me")
        await until(lambda: h.engine.active == 1, "the prefill")
        await h.press(ActionName.STOP)
        await h.settled()
        assert h.engine.active == 0
        assert h.texts() == ["Stopping.", "Stopped."]


async def test_stop_takes_a_question_out_of_the_queue(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(models={"default": {"path": "scripted.fake", "slots": 1}})) as h:
        await stalled(h)
        await h.say("me too", chat="other", author=BEA)
        scheduler = (await h.registry.get("default")).scheduler
        await until(lambda: scheduler.waiting == 1, "the queue")
        await h.press(ActionName.STOP, chat="other", author=BEA)
        await until(lambda: scheduler.waiting == 0, "an empty queue")
        await until(lambda: "Stopped." in h.texts("other"), "the word")
        assert h.engine.active == 1
        h.engine.resume.set()
        await h.settled()
        assert h.texts() == ["You said: tell me"]


async def test_a_stop_without_an_answer_is_told(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.say("/stop")
        await until(lambda: h.texts() == ["There is nothing to stop."], "the word")
        assert await h.store.pending() == 0


async def test_in_a_group_only_the_asker_and_owners_stop_an_answer(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(permissions={"admins": ["memory:9"]})) as h:
        await stalled(h, group=True)
        await h.press(ActionName.STOP, author=BEA)
        await until(lambda: "Only who asked, or an owner of this bot, can stop that answer." in h.texts(), "the word")
        assert h.engine.active == 1
        await h.press(ActionName.STOP, author=replace(BEA, id="9"))
        await h.settled()
        assert h.engine.active == 0


async def test_a_stop_button_under_an_older_answer_leaves_the_present_one_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.ask("first")
        older = h.platform.messages[0].ref.message_id
        await stalled(h, "second")
        await until(lambda: h.texts()[1:] == ["You s"], "the second answer's first words")
        await h.press(ActionName.STOP, target=older)
        await until(lambda: "There is nothing to stop." in h.texts(), "the word")
        assert h.engine.active == 1
        present = h.platform.messages[1].ref.message_id
        await h.press(ActionName.STOP, target=present)
        await h.settled()
        assert h.texts() == ["You said: first", "You s", "There is nothing to stop."]


async def test_a_stop_outlives_the_process(tmp_path: Path) -> None:
    """The answer was between two attempts; the next process neither computes it nor forgets who stopped it."""
    async with house(tmp_path, start=False) as h:
        await h.say("tell me")
        assert await h.store.claim("died", lease=-1)
        await h.say("/stop")
        await until(lambda: h.texts() == ["Stopping."], "the word")
        platform = h.platform
    async with house(tmp_path, platform=platform) as h:
        await h.settled()
        assert h.texts() == ["Stopping.", "Stopped."]
        assert h.engine.requests == []
        assert await h.line() == [(Role.USER, "tell me")]


async def test_a_stop_that_comes_while_a_claim_is_on_its_way_is_not_lost(tmp_path: Path) -> None:
    class Slow(SqlStore):
        async def claims(self, *args: Any, **how: Any) -> Iterable[Claim]:
            claims = list(await super().claims(*args, **how))
            if claims:
                await h.press(ActionName.STOP)
                await until(lambda: h.texts() == ["Stopping."], "the word")
            return claims

    store = await Slow.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    async with house(tmp_path, store=store) as h:
        await h.say("tell me")
        await h.settled()
        assert h.texts() == ["Stopping.", "Stopped."]
        assert h.engine.requests == []


async def test_a_stop_is_for_an_answer_that_waits_too(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(chat={"concurrent_conversations": 1})) as h:
        await stalled(h)
        await h.say("me too", chat="other")
        await h.say("/stop", chat="other")
        await until(lambda: h.texts("other") == ["Stopping."], "the word")
        h.engine.resume.set()
        await h.settled()
        assert h.texts("other") == ["Stopping.", "Stopped."]
        assert h.texts() == ["You said: tell me"]


async def test_a_stopped_answer_that_was_finished_is_delivered_as_it_is(tmp_path: Path) -> None:
    async with house(tmp_path, start=False) as h:
        await h.say("tell me")
        claim = await h.store.claim("died", lease=-1)
        assert claim is not None
        await h.store.keep(claim, Finished(outcome=AnswerState.DONE, text="This."))
        await h.press(ActionName.STOP)
        await until(lambda: h.texts() == ["Stopping."], "the word")
        h.start()
        await h.settled()
        assert h.texts() == ["Stopping.", "This."]


async def test_in_a_group_nobody_stops_anothers_waiting_answer(tmp_path: Path) -> None:
    async with house(tmp_path, start=False) as h:
        await h.say("tell me", group=True)
        await h.press(ActionName.STOP, author=BEA)
        await until(lambda: h.texts() == ["There is nothing to stop."], "the word")
        h.start()
        await h.settled()
        assert h.texts()[1:] == ["You said: Ada: tell me"]


async def test_a_stop_is_not_about_what_is_asked_after_it(tmp_path: Path) -> None:
    """Both may be there at once, as after an outage."""
    async with house(tmp_path) as h:
        for number in range(20):
            await h.press(ActionName.STOP)
            assert await h.ask(f"question {number}") == f"You said: question {number}"


async def test_a_stop_that_the_database_refuses_is_told(tmp_path: Path) -> None:
    class Full(SqlStore):
        async def stop(self, key: ConversationKey, *, asker: str | None, before: datetime | None = None) -> int | None:
            raise DatabaseError("the disk is full")

    store = await Full.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    async with house(tmp_path, store=store) as h:
        await stalled(h)
        await h.press(ActionName.STOP)
        await until(lambda: "That could not be written down. Please try again." in h.texts(), "the word")


# Interrupt


async def test_by_setting_a_new_message_interrupts_and_the_model_knows_both(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(chat={"while_answering": "interrupt"})) as h:
        await stalled(h)
        h.engine.stall_after = None
        assert await h.ask("no, something else") == "You said: no, something else"
        assert h.texts() == ["You s", "You said: no, something else"]
        assert "tell me<|im_end|>\n<|im_start|>assistant\nYou s<|im_end|>" in h.prompts()[-1]


@pytest.mark.parametrize(("text", "author"), [("and me?", BEA), ("/history", ADA)])
async def test_neither_others_nor_commands_interrupt(tmp_path: Path, text: str, author: Author) -> None:
    async with house(tmp_path, configuration(chat={"while_answering": "interrupt"})) as h:
        await stalled(h, group=True)
        await h.say(text, group=True, author=author)
        h.engine.resume.set()
        await h.settled()
        assert h.texts()[0] == "You said: Ada: tell me"


# Edits and deletions


async def test_an_edit_of_the_question_in_progress_is_answered_anew_in_place(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        event = await stalled(h)
        h.engine.stall_after = None
        await h.edit(event, "tell me more")
        await h.settled()
        assert h.engine.active == 0
        assert h.texts() == ["You said: tell me more"]
        assert len(h.platform.messages) == 1
        assert await h.line() == [(Role.USER, "tell me more"), (Role.ASSISTANT, "You said: tell me more")]


async def test_an_edit_of_the_last_question_is_answered_anew_in_place(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        event = await h.say("one")
        await h.settled()
        await h.edit(event, "two")
        await h.settled()
        assert h.texts() == ["You said: two"]
        assert len(h.platform.messages) == 1
        assert await h.line() == [(Role.USER, "two"), (Role.ASSISTANT, "You said: two")]


async def test_an_edit_of_a_waiting_question_replaces_it(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        event = await h.say("oen")
        await h.edit(event, "one")
        h.engine.resume.set()
        await h.settled()
        assert h.texts() == ["You said: tell me", "You said: one"]


async def test_an_edit_of_an_older_question_changes_its_text_only(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        event = await h.say("one")
        await h.settled()
        await h.ask("two")
        await h.edit(event, "three")
        await h.settled()
        assert h.texts() == ["You said: one", "You said: two"]
        assert (await h.line())[0] == (Role.USER, "three")


async def test_a_deleted_waiting_question_is_not_answered(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        event = await h.say("forget it")
        await h.delete(event)
        h.engine.resume.set()
        await h.settled()
        assert h.texts() == ["You said: tell me"]


async def test_the_deletion_of_the_question_in_progress_frees_the_engine(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        event = await stalled(h)
        await h.delete(event)
        await h.settled()
        assert h.engine.active == 0
        assert await h.line() == []


async def test_what_was_sent_of_an_answer_goes_with_its_deleted_question(tmp_path: Path) -> None:
    """Also where the platform is away for a moment: half an answer with a Stop button would stay for ever."""
    async with house(tmp_path) as h:
        event = await stalled(h)
        h.platform.faults += [Fault(Unreachable("timed out"), kind="delete"), Fault(FloodWait(0.0), kind="delete")]
        await h.delete(event)
        await until(lambda: h.texts() == [], "an empty chat")
        await h.settled()
        assert len(h.platform.messages) == 1


async def test_who_is_forgotten_elsewhere_gets_no_more_of_an_answer(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        assert (await h.ask("/forgetme", chat="other")).startswith("Everything of yours is removed: ")
        await until(lambda: h.texts() == [], "an empty chat")
        assert h.engine.active == 0
        assert h.dispatcher.in_progress == 0


async def test_where_the_bot_is_no_more_the_engine_is_freed_and_nothing_is_said_or_deleted(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        await h.say("and this?")
        calls = len(h.platform.calls)
        await h.inbox.receive(Left(key=place(), event_id="left", sent_at=datetime.now(UTC)))
        await h.settled()
        assert h.engine.active == 0
        assert {call.kind for call in h.platform.calls[calls:]} <= {"show"}
        assert await h.store.find_conversation(place()) is None


async def test_a_drain_waits_until_what_was_sent_is_deleted(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        event = await stalled(h)
        h.platform.faults.append(Fault(Unreachable("timed out"), kind="delete"))
        await h.delete(event)
        await h.drain()
        assert h.texts() == []


async def test_many_edits_in_a_row_leave_one_answer(tmp_path: Path) -> None:
    """Whatever the edit hits, an answer being closed or one being sent, the last text is answered in place."""
    async with house(tmp_path) as h:
        event = await h.say("text 0")
        for number in range(1, 30):
            for _ in range(number):
                await asyncio.sleep(0)
            await h.edit(event, f"text {number}")
        await h.settled()
        assert h.texts() == ["You said: text 29"]
        assert await h.line() == [(Role.USER, "text 29"), (Role.ASSISTANT, "You said: text 29")]
        assert h.engine.active == 0


# Side branches and retries


async def test_a_reply_to_an_older_answer_leaves_the_line_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.ask("one")
        first = h.platform.messages[0].ref.message_id
        await h.ask("two")
        await h.ask("about one", reply_to=first)
        assert question(h.prompts()[-1]) == "about one"
        assert "two" not in h.prompts()[-1]
        assert [text for _, text in await h.line()] == ["one", "You said: one", "two", "You said: two"]


async def test_a_retry_button_makes_a_sibling(tmp_path: Path) -> None:
    answers = iter(["first", "second"])
    async with house(tmp_path, engine=ScriptedEngine(lambda _: next(answers))) as h:
        await h.ask("one")
        await h.press(ActionName.RETRY)
        await h.settled()
        assert h.texts() == ["first", "second"]
        assert h.engine.requests[0].prompt == h.engine.requests[1].prompt
        assert await h.line() == [(Role.USER, "one"), (Role.ASSISTANT, "second")]
