"""An answer's source is closed exactly once, whatever ends it, and leaves no task behind."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from bot.answering import until
from bot.errors import EngineError
from bot.messages import Piece, Text


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


async def collect(source: Source, stop: asyncio.Event) -> list[Piece]:
    async with aclosing(until(stop, source.pieces())) as pieces:
        return [piece async for piece in pieces]


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncGenerator[None, None]:
    yield
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_without_a_stop_every_piece_comes() -> None:
    source = Source("a", "b")
    assert await collect(source, asyncio.Event()) == [Text("a"), Text("b")]
    assert source.ends == ["end"]


async def test_an_error_comes_after_the_pieces_before_it() -> None:
    source, seen = Source("a", error=EngineError(detail="no")), []
    async with aclosing(until(asyncio.Event(), source.pieces())) as pieces:
        with pytest.raises(EngineError):
            async for piece in pieces:
                seen.append(piece)
    assert seen == [Text("a")]
    assert source.ends == ["EngineError"]


async def test_a_stop_ends_a_source_that_waits() -> None:
    source, stop = Source("a", waits=True), asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    assert await collect(source, stop) == [Text("a")]
    assert source.ends == ["CancelledError"]


async def test_a_stop_before_the_beginning_ends_it_too() -> None:
    source, stop = Source(waits=True), asyncio.Event()
    stop.set()
    assert await collect(source, stop) == []
    assert source.ends == ["CancelledError"]


async def test_a_stop_frees_the_source_while_nobody_asks_for_the_next_piece() -> None:
    """The platform may be slow just then; the engine is not kept for it."""
    source, stop = Source("a", waits=True), asyncio.Event()
    async with aclosing(until(stop, source.pieces())) as pieces:
        assert await anext(pieces) == Text("a")
        stop.set()
        await asyncio.wait_for(source.closing.wait(), 5)
        await asyncio.sleep(0)
        assert source.ends == ["CancelledError"]


async def test_who_leaves_early_closes_the_source_before_going_on() -> None:
    source = Source("a", waits=True)
    async with aclosing(until(asyncio.Event(), source.pieces())) as pieces:
        assert await anext(pieces) == Text("a")
    assert source.ends == ["CancelledError"]


async def test_who_leaves_early_need_not_look_at_an_error() -> None:
    """Otherwise the event loop would complain of an exception that nobody retrieved."""
    source = Source("a", "b", error=EngineError())
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with aclosing(until(asyncio.Event(), source.pieces())) as pieces:
        assert await anext(pieces) == Text("a")
        await asyncio.sleep(0)
    del pieces
    gc.collect()
    assert source.ends == ["EngineError"]
    assert complaints == []


async def test_a_cancelled_answer_closes_its_source_before_it_ends() -> None:
    source = Source("a", waits=True)
    task = asyncio.create_task(collect(source, asyncio.Event()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.ends == ["CancelledError"]


async def test_what_a_source_cleans_up_is_not_interrupted_by_a_second_end() -> None:
    source, stop = Source("a", waits=True), asyncio.Event()
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
