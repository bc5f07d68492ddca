"""What the dispatcher does when something fails: engines, platforms, processes, leases, time; and how it stops."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from structlog.testing import capture_logs

from bot.dispatcher import GIVEN_UP
from bot.errors import Barred, EngineError, MessageGone, PlatformError, Unreachable
from bot.generation import Generation
from bot.messages import (
    ActionName,
    AnswerState,
    Destination,
    Draft,
    Finished,
    MessageRef,
    MessageState,
    Outgoing,
    Role,
)
from bot.testing import MemoryAdapter, ScriptedEngine, StreamEvent
from bot.testing_platform import Fault
from tests.house import BEA, House, configuration, house, place, question, stalled, until

# Failures


async def test_a_failure_of_the_engine_is_tried_again(tmp_path: Path) -> None:
    class Once(ScriptedEngine):
        """Fails in the middle of its first answer."""

        async def stream(self, request: Generation) -> AsyncGenerator[StreamEvent, None]:
            self.fail_with = None if self.requests else EngineError(detail="out of memory")
            async with aclosing(super().stream(request)) as events:
                async for event in events:
                    yield event

    async with house(tmp_path, engine=Once()) as h:
        h.engine.fail_after = 3
        with capture_logs() as logs:
            await h.say("tell me")
            await h.settled()
        assert [entry["attempt"] for entry in logs if entry["event"] == "attempt failed"] == [1]
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


async def test_what_may_have_ended_processes_is_answered_alone_however_much_waits(tmp_path: Path) -> None:
    """Two that died twice with their processes, and others that nobody has begun: they are claimed together."""
    together: dict[str, int] = {}

    def answer(prompt: str) -> str:
        together[question(prompt)] = max(h.engine.active, together.get(question(prompt), 0))
        return "done"

    engine = ScriptedEngine(answer, seconds_per_token=0.01)
    async with house(tmp_path, engine=engine, start=False) as h:
        for chat in ("one", "two"):
            await h.say(f"deadly {chat}", chat=chat)
        begun = [*await h.store.claims("died", lease=-1, most=2)]
        begun += [claim for _ in range(2) if (claim := await h.store.claim("died", lease=-1))]
        assert [(claim.event.key.chat, claim.attempt) for claim in begun] == [
            ("one", 1),
            ("two", 1),
            ("one", 2),
            ("two", 2),
        ]
        for number in range(6):
            await h.say(f"harmless {number}", chat=f"chat {number}")
        h.start()
        await h.settled()
        assert [h.texts(chat) for chat in ("one", "two", *(f"chat {number}" for number in range(6)))] == [["done"]] * 8
        assert (together["deadly one"], together["deadly two"]) == (1, 1)
        assert max(together.values()) > 1


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


# Who does not want the bot


async def test_an_answer_that_is_not_wanted_any_more_is_closed_at_once(tmp_path: Path) -> None:
    """No second attempt, no last word, no trace in the log; the next question finds the way free."""
    async with house(tmp_path, start=False) as h:
        h.platform.faults.append(Fault(Barred("bot was blocked by the user")))
        with capture_logs() as logs:
            event = await h.say("tell me")
            h.start()
            await h.settled()
        assert len(h.platform.calls) - sum(call.kind == "show" for call in h.platform.calls) == 1
        assert h.texts() == []
        assert [entry["log_level"] for entry in logs if "not wanted" in entry["event"]] == ["info"]
        assert [entry for entry in logs if entry["log_level"] in {"warning", "error"}] == []
        asked = await h.store.find_sent(place(), event)
        assert asked is not None
        assert asked.state is MessageState.CONTEXT
        assert await h.ask("and now?") == "You said: and now?"
        assert [text for _, text in await h.line()] == ["tell me", "and now?", "You said: and now?"]


async def test_the_engine_is_free_once_the_answer_is_not_wanted(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.engine.stall_after = 5
        h.platform.faults.append(Fault(Barred("bot was kicked")))
        await h.say("tell me")
        await h.settled()
        assert h.engine.active == 0
        assert len(h.engine.requests) == 1


async def test_what_an_answer_cost_that_nobody_wanted_is_counted(tmp_path: Path) -> None:
    async with house(tmp_path, start=False) as h:
        h.platform.faults += [Fault(PlatformError("no")), Fault(Barred("bot was blocked by the user"))]
        await h.say("tell me")
        h.start()
        await h.settled()
        [day] = await h.store.usage()
        assert day["messages"] == 1


async def test_who_asks_to_be_forgotten_and_blocks_the_bot_is_forgotten(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.ask("the secret word is xyzzy")
        h.platform.faults.append(Fault(Barred("bot was blocked by the user")))
        await h.say("/forgetme")
        await h.settled()
        assert (await h.store.export("memory", "1")).data["conversations"] == []
        assert await h.store.find_conversation(place()) is None


async def test_a_word_to_who_does_not_want_it_is_no_warning(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.platform.faults.append(Fault(Barred("bot was blocked by the user")))
        with capture_logs() as logs:
            await h.press(ActionName.STOP)
            await until(lambda: h.platform.faults == [], "the word")
            await h.drain()
        assert [entry for entry in logs if entry["log_level"] != "debug"] == []


async def kept(h: House, text: str) -> None:
    """The first attempt ends with its process, just before the finished answer is delivered."""
    claim = await h.store.claim("died", lease=-1)
    assert claim is not None
    draft = Draft(role=Role.ASSISTANT, text=text, parent=claim.question.id)
    await h.store.keep(claim, Finished(outcome=AnswerState.DONE, text=text, drafts=(draft,)))


async def test_an_answer_that_was_finished_is_the_last_word_of_a_process_that_died_three_times(tmp_path: Path) -> None:
    async with house(tmp_path, start=False) as h:
        await h.say("tell me")
        await kept(h, "This.")
        for _ in range(2):
            assert await h.store.claim("died", lease=-1)
        h.start()
        await h.settled()
        assert h.texts() == ["This."]
        assert await h.line() == [(Role.USER, "tell me"), (Role.ASSISTANT, "This.")]


async def test_where_the_last_word_fails_too_the_answer_is_closed_without_it(tmp_path: Path) -> None:
    """Otherwise it would be tried for ever, and everything in its conversation would wait behind it."""

    class Odd(MemoryAdapter):
        failures = 3

        async def send(self, to: Destination, what: Outgoing) -> MessageRef:
            if self.failures:
                self.failures -= 1
                raise RuntimeError("a bug in an adapter")
            return await super().send(to, what)

    async with house(tmp_path, platform=Odd(), start=False) as h:
        await h.say("tell me")
        await kept(h, "This.")
        await h.say("and now?")
        h.start()
        await h.settled()
        assert h.texts() == ["You said: and now?"]
        assert [text for _, text in await h.line()] == ["tell me", "This.", "and now?", "You said: and now?"]


async def test_a_process_that_dies_over_the_last_word_too_leaves_the_conversation_free(tmp_path: Path) -> None:
    async with house(tmp_path, start=False) as h:
        await h.say("tell me")
        for _ in range(4):
            assert await h.store.claim("died", lease=-1)
        h.start()
        await h.settled()
        assert h.texts() == []
        assert h.engine.requests == []
        assert await h.ask("and now?") == "You said: and now?"


async def test_the_last_word_waits_for_a_platform_that_is_away(tmp_path: Path) -> None:
    class Away(MemoryAdapter):
        outages = 30

        async def send(self, to: Destination, what: Outgoing) -> MessageRef:
            if self.outages:
                self.outages -= 1
                raise Unreachable("timed out")
            return await super().send(to, what)

    short = asyncio.sleep
    async with house(tmp_path, platform=Away(), start=False, sleep=lambda seconds: short(seconds / 1000)) as h:
        await h.say("tell me")
        for _ in range(3):
            assert await h.store.claim("died", lease=-1)
        h.start()
        await h.settled()
        assert h.texts() == [GIVEN_UP]


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


async def test_what_was_written_long_before_it_came_is_not_answered_unless_it_is_edited_since(tmp_path: Path) -> None:
    """After an outage the platform brings what was written meanwhile."""
    async with house(tmp_path) as h:
        event = await h.say("anybody here?", ago=timedelta(hours=2))
        await h.settled()
        assert h.texts() == []
        await h.ask("hello?")
        assert (await h.line())[0] == (Role.USER, "anybody here?")
    async with house(tmp_path / "another", start=False) as h:
        event = await h.say("anybody here?", ago=timedelta(hours=2))
        await h.edit(event, "is anybody here now?")
        h.start()
        await h.settled()
        assert h.texts() == ["You said: is anybody here now?"]


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
        await h.say("is anybody here?", account="former bot")
        await h.say("hello")
        await until(lambda: h.texts() == ["You said: hello"], "the answer")
        await until(lambda: h.dispatcher.in_progress == 0, "rest")
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
