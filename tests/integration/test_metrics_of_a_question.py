"""A question moves the right numbers, from the inbox over the queue and the database to the platform."""

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.errors import DatabaseError, EngineError, FloodWait
from bot.messages import Message
from bot.testing import MemoryAdapter
from bot.testing_platform import Fault
from tests.house import ADA, BEA, DEADLINE, House, configuration, house, place, until

MEMORY = {"platform": "memory"}


def number(h: House, name: str, **labels: str) -> float:
    """A sample of the house's metrics; 0 if there is none yet."""
    families = text_string_to_metric_families(h.metrics.render().decode())
    found = [s.value for family in families for s in family.samples if s.name == name and s.labels == labels]
    return found[0] if found else 0


async def test_a_question_and_its_answer_are_counted(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        assert await h.ask("hello") == "You said: hello"
        assert number(h, "hearth_messages_total", **MEMORY, triage="pending") == 1
        assert number(h, "hearth_answers_total", **MEMORY, outcome="done") == 1
        assert number(h, "hearth_first_token_seconds_count", **MEMORY) == 1
        assert number(h, "hearth_answer_seconds_count", **MEMORY) == 1
        assert number(h, "hearth_queue_seconds_count", model="scripted") == 1
        assert number(h, "hearth_queue_seconds_sum", model="scripted") < DEADLINE
        assert number(h, "hearth_tokens_total", model="scripted", kind="evaluated") == h.engine.prefilled
        assert number(h, "hearth_tokens_total", model="scripted", kind="generated") == len("You said: hello") + 1
        assert number(h, "hearth_database_seconds_count", kind="write") > 3
        assert number(h, "hearth_database_seconds_count", kind="read") > 0


async def test_tokens_out_of_the_cache_are_told_apart(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.ask("hello")
        await h.ask("and again")
        assert number(h, "hearth_tokens_total", model="scripted", kind="cached") == h.engine.cached > 0
        assert number(h, "hearth_tokens_total", model="scripted", kind="evaluated") == h.engine.prefilled


async def test_a_command_is_an_answer_without_a_first_token(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        await h.ask("/help")
        assert number(h, "hearth_answers_total", **MEMORY, outcome="done") == 1
        assert number(h, "hearth_first_token_seconds_count", **MEMORY) == 0


async def test_repeated_and_ignored_messages_are_told_apart(tmp_path: Path) -> None:
    hello = Message(key=place(), event_id="1", author=ADA, text="hello", sent_at=datetime.now(UTC), direct=True)
    async with house(tmp_path, configuration(permissions={"allow": ["memory:1"]}), start=False) as h:
        await h.inbox.receive(hello)
        await h.inbox.receive(hello)
        await h.say("hello", author=BEA)
        assert number(h, "hearth_messages_total", **MEMORY, triage="pending") == 1
        assert number(h, "hearth_messages_total", **MEMORY, triage="duplicate") == 1
        assert number(h, "hearth_messages_total", **MEMORY, triage="ignored") == 1


async def test_each_failed_attempt_and_the_last_word_are_errors_of_their_kind(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        h.engine.fail_with = EngineError(detail="out of memory")
        await h.ask("hello")
        assert number(h, "hearth_errors_total", kind="EngineError") == 3
        assert number(h, "hearth_answers_total", **MEMORY, outcome="failed") == 1


async def test_who_finds_the_queue_full_is_counted(tmp_path: Path) -> None:
    async with house(tmp_path, configuration(queue={"per_user": 1})) as h:
        h.engine.stall_after = 1
        await h.say("first", chat="one", author=ADA)
        await until(lambda: h.engine.active == 1, "the first answer")
        await h.say("second", chat="two", author=ADA)
        await until(lambda: number(h, "hearth_errors_total", kind="Busy") == 1, "the refusal")
        h.engine.resume.set()
        await h.settled()


async def test_what_a_platform_makes_wait_is_counted(tmp_path: Path) -> None:
    async def passing(seconds: float) -> None:
        await asyncio.sleep(seconds / 1000)

    async with house(tmp_path, platform=MemoryAdapter(), sleep=passing) as h:
        h.platform.faults += [Fault(FloodWait(0.01), kind="send")]
        assert await h.ask("hello") == "You said: hello"
        assert number(h, "hearth_platform_errors_total", **MEMORY, kind="FloodWait") == 1
        assert number(h, "hearth_flood_wait_seconds_total", **MEMORY) == 0.01


async def test_a_database_that_fails_is_an_error_and_one_that_is_asked_in_vain_is_none(tmp_path: Path) -> None:
    async with house(tmp_path, start=False) as h:
        with pytest.raises(ValueError, match="message 5 is not in conversation"):
            await h.store.set_head((await h.conversation()).id, 5)
        assert number(h, "hearth_errors_total", kind="DatabaseError") == 0
        with sqlite3.connect(tmp_path / "hearth.db") as connection:
            connection.execute("DROP TABLE sent_parts")
            connection.execute("DROP TABLE answers")
        connection.close()
        with pytest.raises(DatabaseError):
            await h.store.pending()
        assert number(h, "hearth_errors_total", kind="DatabaseError") == 1
