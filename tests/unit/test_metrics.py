"""The metrics of a process: what is counted under which name, and that nobody's id or words are among them."""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adapters.web.probes import TEXT
from bot.errors import DatabaseError, FloodWait, MessageGone, PlatformError, Unreachable
from bot.generation import Usage
from bot.messages import (
    Action,
    ActionName,
    AnswerState,
    Attachment,
    Author,
    Claim,
    Conversation,
    ConversationKey,
    Destination,
    Finished,
    Message,
    MessageRef,
    MessageState,
    Outgoing,
    Role,
    Settings,
    StoredMessage,
    Triage,
)
from bot.metered import Metered
from bot.metrics import CONTENT_TYPE, Metrics, ModelNow, Now
from bot.testing import MemoryAdapter
from bot.testing_platform import Fault

KEY = ConversationKey("memory", "secret-account", "secret-chat", "secret-thread")
ZELDA = Author("secret-id", "Zelda")
QUESTION = Message(
    key=KEY, event_id="secret-event", author=ZELDA, text="secret words", sent_at=datetime.now(UTC), direct=True
)
NOW = Now(
    version="1.2.3",
    ready=True,
    open_questions=4,
    in_progress=3,
    models=[
        ModelNow("default", loaded=True, running=2, waiting=5),
        ModelNow("other", loaded=False, running=0, waiting=0),
    ],
    adapters={("console", "local"): True, ("memory", "bot"): False},
)


def samples(metrics: Metrics, now: Now | None = None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels, as Prometheus's own parser reads them."""
    families = text_string_to_metric_families(metrics.render(now).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, labels: Mapping[str, str] | None = None, now: Now | None = None) -> float | None:
    """One sample; None if there is none."""
    return samples(metrics, now).get((name, tuple(sorted((labels or {}).items()))))


def claim(received_at: datetime | None = None) -> Claim:
    at = received_at or datetime.now(UTC)
    question = StoredMessage(
        id=1,
        parent=None,
        role=Role.USER,
        text="secret words",
        state=MessageState.FINAL,
        created_at=at,
        author=ZELDA,
    )
    conversation = Conversation(id=1, key=KEY, direct=True, settings=Settings(), head=1, first_day=at.date())
    return Claim(
        id=1, conversation=conversation, question=question, event=QUESTION, attempt=1, owner="me", received_at=at
    )


def test_messages_are_counted_by_platform_and_by_what_becomes_of_them() -> None:
    metrics = Metrics()
    metrics.received(QUESTION, Triage.PENDING)
    metrics.received(QUESTION, Triage.PENDING)
    metrics.received(QUESTION, Triage.PENDING, duplicate=True)
    metrics.received(QUESTION, Triage.IGNORED)
    stop = Action(key=KEY, event_id="2", author=ZELDA, name=ActionName.STOP, sent_at=QUESTION.sent_at)
    metrics.received(stop, Triage.PENDING)
    counted = {labels: count for (name, labels), count in samples(metrics).items() if name == "hearth_messages_total"}
    assert counted == {
        (("platform", "memory"), ("triage", "pending")): 2,
        (("platform", "memory"), ("triage", "duplicate")): 1,
        (("platform", "memory"), ("triage", "ignored")): 1,
    }


def test_a_closed_answer_is_counted_timed_and_paid_for() -> None:
    metrics = Metrics()
    usage = Usage(prompt_tokens=100, cached_tokens=60, completion_tokens=7)
    done = Finished(outcome=AnswerState.DONE, text="secret answer", model="small@0123456789ab", usage=usage)
    metrics.closed(claim(datetime.now(UTC) - timedelta(seconds=30)), AnswerState.DONE, done)
    assert value(metrics, "hearth_answers_total", {"platform": "memory", "outcome": "done"}) == 1
    assert value(metrics, "hearth_answer_seconds_count", {"platform": "memory"}) == 1
    assert value(metrics, "hearth_answer_seconds_bucket", {"platform": "memory", "le": "20.0"}) == 0
    assert value(metrics, "hearth_answer_seconds_bucket", {"platform": "memory", "le": "+Inf"}) == 1
    tokens = [value(metrics, "hearth_tokens_total", {"model": "small", "kind": kind}) for kind in KINDS]
    assert tokens == [40, 60, 7]


KINDS = ("evaluated", "cached", "generated")


def test_an_answer_that_expired_is_counted_and_not_timed() -> None:
    metrics = Metrics()
    metrics.closed(claim(), AnswerState.EXPIRED, None)
    assert value(metrics, "hearth_answers_total", {"platform": "memory", "outcome": "expired"}) == 1
    assert value(metrics, "hearth_answer_seconds_count", {"platform": "memory"}) is None


def test_what_the_person_was_told_is_an_error_by_its_kind() -> None:
    metrics = Metrics()
    failed = Finished(outcome=AnswerState.FAILED, text="The queue is full.", error="Busy")
    metrics.closed(claim(), AnswerState.FAILED, failed)
    metrics.failed(ValueError("secret words"))
    assert value(metrics, "hearth_errors_total", {"kind": "Busy"}) == 1
    assert value(metrics, "hearth_errors_total", {"kind": "ValueError"}) == 1


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    metrics = Metrics()
    metrics.first_token(claim(datetime.now(UTC) + timedelta(hours=1)))
    assert value(metrics, "hearth_first_token_seconds_count", {"platform": "memory"}) == 1
    assert value(metrics, "hearth_first_token_seconds_sum", {"platform": "memory"}) == 0


def test_waits_for_a_slot_go_by_the_models_alias() -> None:
    metrics = Metrics()
    metrics.queued("small@0123456789ab", 3.0)
    assert value(metrics, "hearth_queue_seconds_sum", {"model": "small"}) == 3


def test_the_database_is_timed_and_its_failures_are_errors() -> None:
    metrics = Metrics()
    metrics.database("read", 0.002)
    metrics.database("write", 0.5, DatabaseError("full"))
    assert value(metrics, "hearth_database_seconds_count", {"kind": "read"}) == 1
    assert value(metrics, "hearth_database_seconds_sum", {"kind": "write"}) == 0.5
    assert value(metrics, "hearth_errors_total", {"kind": "DatabaseError"}) == 1


def test_what_is_looked_at_is_of_the_moment_of_the_scrape() -> None:
    metrics = Metrics()
    first = samples(metrics, NOW)
    assert first["hearth_build_info", (("version", "1.2.3"),)] == 1
    assert first["hearth_ready", ()] == 1
    assert first["hearth_questions_open", ()] == 4
    assert first["hearth_answers_in_progress", ()] == 3
    assert first["hearth_model_loaded", (("model", "default"),)] == 1
    assert first["hearth_model_loaded", (("model", "other"),)] == 0
    assert first["hearth_model_answers", (("model", "default"),)] == 2
    assert first["hearth_queue_length", (("model", "default"),)] == 5
    assert first["hearth_adapter_listening", (("account", "local"), ("platform", "console"))] == 1
    assert first["hearth_adapter_listening", (("account", "bot"), ("platform", "memory"))] == 0
    later = samples(metrics, replace(NOW, ready=False, open_questions=None))
    assert later["hearth_ready", ()] == 0
    assert math.isnan(later["hearth_questions_open", ()])


def test_no_label_and_no_line_holds_anybodys_id_or_words() -> None:
    metrics = Metrics()
    metrics.received(QUESTION, Triage.PENDING)
    metrics.first_token(claim())
    finished = Finished(outcome=AnswerState.DONE, text="secret answer", model="small@0123456789ab")
    metrics.closed(claim(), AnswerState.DONE, finished)
    metrics.failed(RuntimeError("secret words"))
    metrics.refused("memory", PlatformError("secret words"))
    text = metrics.render(NOW).decode()
    assert "memory" in text
    assert "secret" not in text
    assert "Zelda" not in text


def test_two_processes_in_one_do_not_share_their_numbers() -> None:
    first, second = Metrics(), Metrics()
    first.queued("small", 1.0)
    assert value(second, "hearth_queue_seconds_count", {"model": "small"}) is None


def test_the_page_names_the_format_in_which_metrics_are_written() -> None:
    assert TEXT == CONTENT_TYPE


async def test_a_loop_that_is_blocked_is_seen() -> None:
    metrics = Metrics()
    watching = asyncio.create_task(metrics.watch_loop())
    await asyncio.sleep(0)
    time.sleep(0.5)  # what no code of Hearth's may do; the look was due after 0.2 s
    while not value(metrics, "hearth_loop_lag_seconds_count"):
        await asyncio.sleep(0)
    watching.cancel()
    assert value(metrics, "hearth_loop_lag_seconds_count") == 1
    assert value(metrics, "hearth_loop_lag_seconds_bucket", {"le": "0.25"}) == 0


CALLS = {
    "send": lambda a: a.send(Destination(key=KEY), Outgoing(text="hello")),
    "edit": lambda a: a.edit(MessageRef(KEY, "1"), Outgoing(text="hello")),
    "delete": lambda a: a.delete(MessageRef(KEY, "1")),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_refused_call_is_counted_and_refused_as_before(call: str) -> None:
    platform, metrics = MemoryAdapter(), Metrics()
    platform.faults += [Fault(FloodWait(7.5)), Fault(Unreachable("away"))]
    adapter = Metered(platform, metrics)
    for kind in (FloodWait, Unreachable):
        with pytest.raises(kind):
            await CALLS[call](adapter)
    assert value(metrics, "hearth_platform_errors_total", {"platform": "memory", "kind": "FloodWait"}) == 1
    assert value(metrics, "hearth_platform_errors_total", {"platform": "memory", "kind": "Unreachable"}) == 1
    assert value(metrics, "hearth_flood_wait_seconds_total", {"platform": "memory"}) == 7.5


async def test_calls_that_succeed_pass_through_and_are_no_errors() -> None:
    platform, metrics = MemoryAdapter(), Metrics()
    adapter = Metered(platform, metrics)
    sent = await adapter.send(Destination(key=KEY), Outgoing(text="hello"))
    await adapter.edit(sent, Outgoing(text="hello again"))
    assert [message.text for message in platform.standing(KEY)] == ["hello again"]
    await adapter.delete(sent)
    assert platform.standing(KEY) == []
    with pytest.raises(MessageGone):
        await adapter.edit(sent, Outgoing(text="too late"))
    with pytest.raises(MessageGone):
        await adapter.fetch(Attachment(kind="file", name="a.txt", media_type="text/plain", size=1, reference="1"))
    kinds = [value(metrics, "hearth_platform_errors_total", {"platform": "memory", "kind": kind}) for kind in REFUSALS]
    assert kinds == [2, None, None]


REFUSALS = ("MessageGone", "PlatformError", "FloodWait")
