"""What an answer comes to; its source is closed exactly once, whatever ends it, and leaves no task behind."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.answering import Answering, Stop, until
from bot.errors import EngineError
from bot.generation import Usage
from bot.messages import (
    AnswerState,
    Author,
    Claim,
    Conversation,
    ConversationKey,
    Message,
    MessageState,
    Piece,
    Role,
    Settings,
    StoredMessage,
    Text,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = ConversationKey("memory", "bot", "chat")
ASKED = StoredMessage(
    id=7, parent=None, role=Role.USER, text="hi", author=None, state=MessageState.PENDING, created_at=NOW
)
CLAIM = Claim(
    id=1,
    conversation=Conversation(id=1, key=KEY, direct=True, settings=Settings(), head=None, first_day=NOW.date()),
    question=ASKED,
    event=Message(key=KEY, event_id="1", author=Author("1", "Ada"), text="hi", sent_at=NOW),
    attempt=1,
    owner="worker",
    received_at=NOW,
)


def test_a_stop_that_comes_after_the_models_own_end_changes_nothing() -> None:
    whole = Answering(CLAIM, ASKED, text="Hello.", ended=True)
    assert whole.finished(stopped=True) == whole.finished(stopped=False)
    assert whole.finished(stopped=True).outcome is AnswerState.DONE


def test_a_stopped_answer_is_kept_as_far_as_it_goes() -> None:
    part = Answering(CLAIM, ASKED, text="Hel").finished(stopped=True)
    assert (part.outcome, part.text) == (AnswerState.STOPPED, "Hel")
    assert [(d.text, d.parent, d.state) for d in part.drafts] == [("Hel", 7, MessageState.STOPPED)]


def test_a_stop_before_the_first_word_leaves_nothing_in_the_history() -> None:
    nothing = Answering(CLAIM, ASKED).finished(stopped=True)
    assert (nothing.outcome, nothing.text, nothing.drafts) == (AnswerState.STOPPED, "Stopped.", ())


def test_a_stop_before_the_first_word_leaves_a_command_out_of_the_line() -> None:
    command = replace(CLAIM, event=replace(CLAIM.event, text="/retry"))
    assert not Answering(command, ASKED).finished(stopped=True).moves_head
    assert Answering(CLAIM, ASKED).finished(stopped=True).moves_head


def test_what_an_answer_cost_is_told_also_where_nothing_came_of_it() -> None:
    """Otherwise a stop before the first word would be a way around the limit of tokens."""
    cost = Usage(prompt_tokens=900, cached_tokens=100)
    read = Answering(CLAIM, ASKED, model="m@1", usage=cost)
    for finished in (read.finished(stopped=True), read.finished(stopped=False), read.failed(EngineError())):
        assert (finished.drafts, finished.model, finished.usage) == ((), "m@1", cost)
    part = Answering(CLAIM, ASKED, text="Hel", model="m@1", usage=cost).finished(stopped=True)
    assert (part.model, part.usage) == ("m@1", cost)


def test_where_no_model_was_asked_none_is_named() -> None:
    assert Answering(CLAIM, ASKED).failed(EngineError()).model == ""


class Source:
    """Pieces that come when they are let, with a note of every end."""

    def __init__(self, *texts: str, error: Exception | None = None, waits: bool = False) -> None:
        self.texts = texts
        self.error = error
        self.waits = waits
        self.ends: list[str] = []
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()
        self.may_close.set()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        try:
            for text in self.texts:
                yield Text(text)
            if self.waits:
                await asyncio.Event().wait()
            if self.error:
                raise self.error
        except BaseException as error:
            self.closing.set()
            await self.may_close.wait()
            self.ends.append(type(error).__name__)
            raise
        self.ends.append("end")


async def collect(source: Source, stop: Stop) -> list[Piece]:
    async with aclosing(until(stop, source.pieces())) as pieces:
        return [piece async for piece in pieces]


@pytest.fixture
async def nothing_left() -> AsyncGenerator[None, None]:
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("nothing_left")
async def test_without_a_stop_every_piece_comes() -> None:
    source = Source("a", "b")
    assert await collect(source, Stop()) == [Text("a"), Text("b")]
    assert source.ends == ["end"]


@pytest.mark.usefixtures("nothing_left")
async def test_an_error_comes_after_the_pieces_before_it() -> None:
    source, seen = Source("a", error=EngineError(detail="no")), []
    async with aclosing(until(Stop(), source.pieces())) as pieces:
        with pytest.raises(EngineError):
            async for piece in pieces:
                seen.append(piece)
    assert seen == [Text("a")]
    assert source.ends == ["EngineError"]


@pytest.mark.usefixtures("nothing_left")
async def test_a_stop_ends_a_source_that_waits() -> None:
    source, stop = Source("a", waits=True), Stop()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    assert await collect(source, stop) == [Text("a")]
    assert source.ends == ["CancelledError"]


@pytest.mark.usefixtures("nothing_left")
async def test_a_stop_before_the_beginning_ends_it_too() -> None:
    source, stop = Source(waits=True), Stop()
    stop.set()
    assert await collect(source, stop) == []
    assert source.ends == ["CancelledError"]


@pytest.mark.usefixtures("nothing_left")
async def test_a_stop_frees_the_source_while_nobody_asks_for_the_next_piece() -> None:
    """The platform may be slow just then; the engine is not kept for it."""
    source, stop = Source("a", waits=True), Stop()
    async with aclosing(until(stop, source.pieces())) as pieces:
        assert await anext(pieces) == Text("a")
        stop.set()
        await asyncio.wait_for(source.closing.wait(), 5)
        await asyncio.sleep(0)
        assert source.ends == ["CancelledError"]


@pytest.mark.usefixtures("nothing_left")
async def test_who_leaves_early_closes_the_source_before_going_on() -> None:
    source = Source("a", waits=True)
    async with aclosing(until(Stop(), source.pieces())) as pieces:
        assert await anext(pieces) == Text("a")
    assert source.ends == ["CancelledError"]


@pytest.mark.usefixtures("nothing_left")
async def test_who_leaves_early_need_not_look_at_an_error() -> None:
    """Otherwise the event loop would complain of an exception that nobody retrieved."""
    source = Source("a", "b", error=EngineError())
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with aclosing(until(Stop(), source.pieces())) as pieces:
        assert await anext(pieces) == Text("a")
        await asyncio.sleep(0)
    del pieces
    gc.collect()
    assert source.ends == ["EngineError"]
    assert complaints == []


@pytest.mark.usefixtures("nothing_left")
async def test_a_cancelled_answer_closes_its_source_before_it_ends() -> None:
    source = Source("a", waits=True)
    task = asyncio.create_task(collect(source, Stop()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.ends == ["CancelledError"]


@pytest.mark.usefixtures("nothing_left")
async def test_what_a_source_cleans_up_is_not_interrupted_by_a_second_end() -> None:
    source, stop = Source("a", waits=True), Stop()
    source.may_close.clear()
    task = asyncio.create_task(collect(source, stop))
    await asyncio.sleep(0.01)
    stop.set()
    await source.closing.wait()
    task.cancel()
    await asyncio.sleep(0)
    source.may_close.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.ends == ["CancelledError"]
