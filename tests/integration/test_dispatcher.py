"""Which question next, one at a time in a conversation; stop, edit, delete, failures, and the way out."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.dispatcher import GIVEN_UP
from bot.errors import EngineError, MessageGone, PlatformError, Unreachable
from bot.messages import ActionName, AnswerState, Author, Destination, MessageRef, MessageState, Outgoing, Role
from bot.testing import MemoryAdapter, ScriptedEngine
from bot.testing_platform import Fault
from tests.house import ADA, BEA, House, configuration, house, place, until


def question(prompt: str) -> str:
    """The last thing that a prompt asks."""
    return prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]


async def stalled(h: House, asked: str = "tell me", tokens: int = 5, **how: object) -> str:
    """Ask something whose answer stops in the middle of "You said: ..."; returns the question's id."""
    h.engine.stall_after = tokens
    event = await h.say(asked, **how)  # type: ignore[arg-type]  # passed on as they are
    await until(lambda: h.engine.active == 1 and "You s"[:tokens] in "".join(h.texts()), "the answer's first words")
    return event


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
    tmp_path: Path,
) -> None:
    """Two hundred questions, one after the other: a lost wake-up would cost five seconds each."""
    async with house(tmp_path, configuration(permissions={"messages_per_minute": 10_000})) as h:
        async with asyncio.timeout(20):
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
        await h.press(ActionName.STOP, target=older)
        await until(lambda: "There is nothing to stop." in h.texts(), "the word")
        assert h.engine.active == 1
        present = h.platform.messages[1].ref.message_id
        await h.press(ActionName.STOP, target=present)
        await h.settled()
        assert h.texts() == ["You said: first", "You s", "There is nothing to stop."]


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


# Failures


async def test_a_failure_of_the_engine_is_tried_again(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.engine.fail_with = EngineError(detail="out of memory")
        h.engine.fail_after = 3
        with capture_logs() as logs:
            await h.say("tell me")
            await until(lambda: any(entry["event"] == "attempt failed" for entry in logs), "the first failure")
            h.engine.fail_with = None
            await h.settled()
        assert h.texts() == ["You said: tell me"]
        assert len(h.platform.messages) == 1
        assert h.engine.active == 0


async def test_three_failures_are_told_once(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.engine.fail_with = EngineError(detail="out of memory")
        h.engine.fail_after = 3
        await h.say("tell me")
        await h.settled()
        assert h.texts() == ["You\n\nThe model failed. Please try again."]
        assert len(h.engine.requests) == 3
        assert len(h.platform.messages) == 1


async def test_a_process_that_died_three_times_over_a_question_gives_it_up(tmp_path: Path) -> None:
    async with house(tmp_path, start=False) as h:
        await h.say("tell me")
        for _ in range(3):
            assert await h.store.claim("died", lease=-1)
        h.start()
        await h.settled()
        assert h.texts() == [GIVEN_UP]
        assert h.engine.requests == []


async def test_a_bug_costs_its_own_answer_three_attempts_and_nobody_else_anything(tmp_path: Path) -> None:
    def answer(prompt: str) -> str:
        if question(prompt) == "bad":
            raise RuntimeError("a bug")
        return "good"

    async with house(tmp_path, engine=ScriptedEngine(answer)) as h:
        await h.say("bad")
        assert await h.ask("fine", chat="other") == "good"
        await h.settled()
        assert h.texts() == [GIVEN_UP]


async def test_a_finished_answer_that_was_not_delivered_is_not_computed_again(tmp_path: Path) -> None:
    async with house(tmp_path, start=False) as h:
        h.platform.faults += [Fault(PlatformError("no")), Fault(PlatformError("no"))]
        await h.say("tell me")
        h.start()
        await h.settled()
        assert h.texts() == ["You said: tell me"]
        assert len(h.engine.requests) == 1


async def test_where_the_chat_is_gone_the_answer_is_closed(tmp_path: Path) -> None:
    class Gone(MemoryAdapter):
        async def send(self, to: Destination, what: Outgoing) -> MessageRef:
            raise MessageGone("chat not found")

    async with house(tmp_path, platform=Gone()) as h:
        await h.say("tell me")
        await h.settled()
        assert await h.line() == [(Role.USER, "tell me"), (Role.ASSISTANT, "You said: tell me")]
        assert len(h.engine.requests) == 1


async def test_an_answer_waits_for_a_platform_that_is_away(tmp_path: Path) -> None:
    """An outage is no failure of the answer: after six rounds of calls the answer comes, computed once."""

    class Away(MemoryAdapter):
        outages = 30

        async def send(self, to: Destination, what: Outgoing) -> MessageRef:
            if self.outages:
                self.outages -= 1
                raise Unreachable("timed out")
            return await super().send(to, what)

    async with house(tmp_path, platform=Away(), sleep=lambda seconds: asyncio.sleep(seconds / 1000)) as h:
        await h.say("tell me")
        await h.settled()
        assert h.texts() == ["You said: tell me"]
        assert len(h.engine.requests) == 1


# Time


async def test_a_question_that_waited_too_long_is_not_answered_and_stays_known(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(chat={"answer_within": 0.05}), start=False) as h:
        await h.say("anybody here?")
        await asyncio.sleep(0.06)
        h.start()
        await h.settled()
        assert h.texts() == []
        h.config = configuration()
        await h.ask("hello?")
        assert await h.line() == [
            (Role.USER, "anybody here?"),
            (Role.USER, "hello?"),
            (Role.ASSISTANT, "You said: hello?"),
        ]


async def test_a_half_sent_answer_is_completed_however_old_it_is(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        await h.drain(0)
        h.config = configuration(chat={"answer_within": 0.001})
        platform, engine = h.platform, h.engine
    engine.stall_after = None
    async with house(tmp_path, configuration(chat={"answer_within": 0.001}), platform=platform) as h:
        await h.settled()
        assert h.texts() == ["You said: tell me"]
        assert len(platform.messages) == 1


async def test_who_waits_longer_than_two_seconds_is_told_the_place_in_the_queue(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(models={"default": {"path": "scripted.fake", "slots": 1}})) as h:
        await stalled(h)
        await h.say("me too", chat="other", author=BEA)
        await until(lambda: h.texts("other") == ["I will begin soon: place 1 in the queue."], "the notice")
        h.engine.resume.set()
        await h.settled()
        assert h.texts("other") == ["You said: me too"]
        assert len(h.platform.messages) == 2


# Leases, drains, restarts


async def test_a_drain_waits_for_answers_in_progress(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await stalled(h)
        draining = asyncio.create_task(h.drain())
        await asyncio.sleep(0)
        await h.say("too late")
        h.engine.resume.set()
        await draining
        assert h.texts() == ["You said: tell me"]
        assert await h.store.pending() == 1


async def test_a_drain_leaves_the_rest_for_the_next_start_and_does_not_count_the_attempt(tmp_path: Path) -> None:
    platform = MemoryAdapter()
    for _ in range(5):
        async with house(tmp_path, platform=platform) as h:
            if not platform.messages:
                await stalled(h)
            h.engine.stall_after = 5
            await until(lambda: h.engine.active == 1, "the answer")
            await h.drain(0)
            assert h.engine.active == 0
            assert h.dispatcher.in_progress == 0
            assert await h.store.pending() == 1
    async with house(tmp_path, platform=platform) as h:
        await h.settled()
        assert h.texts() == ["You said: tell me"]
        assert len(platform.messages) == 1


async def test_after_a_drain_nothing_of_the_dispatcher_is_left(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with house(tmp_path) as h:
        await stalled(h)
        await h.say("and me", chat="other")
        await h.drain(0)
        left = {task.get_name() for task in asyncio.all_tasks() - before if "answer" in task.get_name()}
        assert left == set()


async def test_a_claim_on_its_way_when_the_drain_begins_is_not_forgotten(tmp_path: Path) -> None:
    """Whatever the moment of the drain, the question waits for the next start with no attempt counted."""
    for turns in range(0, 24, 2):
        folder = tmp_path / str(turns)
        folder.mkdir()
        async with house(folder) as h:
            await h.say("tell me")
            for _ in range(turns):
                await asyncio.sleep(0)
            h.engine.stall_after = 0
            await h.dispatcher.drain(0)
            assert h.running is not None
            h.running.cancel()
            await asyncio.wait([h.running])
            h.running = None
            claim = await h.store.claim("next", lease=60)
            assert claim is not None
            assert claim.attempt == 1


async def test_a_worker_that_lost_its_lease_leaves_everything_to_the_other(tmp_path: Path) -> None:
    async with house(tmp_path, lease=0.06) as h:
        await stalled(h)
        claim = next(iter(h.dispatcher._running.values())).claim
        taken = None
        while taken is None:  # a renewal can come between the two
            await h.store.extend(claim, lease=-1)
            taken = await h.store.claim("other", lease=60)
        await until(lambda: h.dispatcher.in_progress == 0, "the end of the first worker's answer")
        assert h.engine.active == 0
        assert h.texts() == ["You s"]
        await h.store.close(taken, AnswerState.FAILED, None)


async def test_questions_of_an_account_that_is_not_connected_wait(tmp_path: Path) -> None:
    """They are not failed attempts, and they do not keep the dispatcher busy."""
    async with house(tmp_path) as h:
        with capture_logs() as logs:
            await h.say("is anybody here?", account="former bot")
            await h.say("hello")
            await until(lambda: h.texts() == ["You said: hello"], "the answer")
            await until(lambda: h.dispatcher.in_progress == 0, "rest")
        assert [entry["event"] for entry in logs].count("this account is not connected; its questions wait") == 1
        claim = await h.store.claim("next", lease=60)
        assert claim is not None
        assert (claim.event.text, claim.attempt) == ("is anybody here?", 1)


async def test_bots_are_not_answered(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.say("hello fellow", author=replace(BEA, is_bot=True))
        assert await h.store.pending() == 0
        assert await h.store.conversation(place()) is not None
        assert h.texts() == []


async def test_group_talk_is_known_and_not_answered_where_the_setting_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(chat={"remember_group_talk": True})) as h:
        await h.say("the sky is green", author=BEA, group=True, addressed=False)
        await h.ask("what did Bea say?", group=True)
        assert h.texts() == ["You said: Ada: what did Bea say?"]
        assert "Bea: the sky is green" in h.prompts()[-1]
