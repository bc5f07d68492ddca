"""Several generations of one request as one stream: each waits for a slot of its own, and all end together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from bot.engines.scheduler import Scheduler
from bot.engines.timed import StreamEvent
from bot.generation import Delta, Generation, TokenLogprob

Logprobs = tuple[TokenLogprob, tuple[TokenLogprob, ...]]
"""A token and the most probable ones in its place."""

AHEAD = 64
"""Events that wait for a slow reader; then the engine waits."""


async def run(
    scheduler: Scheduler, requests: Sequence[Generation], *, user: str, most: int
) -> AsyncGenerator[tuple[int, StreamEvent], None]:
    """The events of each generation, with its number. Closing the iterator frees the engine.

    `most`: slots and places of this user's, all requests together. One request takes no more places than there are
    slots. Raises Busy and what the engine raises; then the other generations end too.
    """
    if len(requests) == 1:
        async with aclosing(_one(scheduler, requests[0], user, most)) as events:
            async for event in events:
                yield 0, event
        return
    async with aclosing(_many(scheduler, requests, user, most)) as mixed:
        async for pair in mixed:
            yield pair


async def _one(
    scheduler: Scheduler, request: Generation, user: str, most: int, *, again: bool = False
) -> AsyncGenerator[StreamEvent, None]:
    async with scheduler.ticket(user, most=most, again=again) as ticket, aclosing(ticket.stream(request)) as stream:
        async for event in stream:
            yield event


async def _many(
    scheduler: Scheduler, requests: Sequence[Generation], user: str, most: int
) -> AsyncGenerator[tuple[int, StreamEvent], None]:
    queue: asyncio.Queue[tuple[int, StreamEvent] | None] = asyncio.Queue(AHEAD)
    left = iter(enumerate(requests))

    async def work(*, first: bool) -> None:
        """One generation after the other, until there are none left. Where there is no room for more than the first
        of these workers, it does all."""
        if not first and not scheduler.has_place(user, most=most):
            return
        again = False
        for number, request in left:
            async with aclosing(_one(scheduler, request, user, most, again=again)) as events:
                async for event in events:
                    await queue.put((number, event))
            again = True

    workers = [asyncio.create_task(work(first=not n)) for n in range(min(len(requests), scheduler.slots))]
    end = asyncio.create_task(_ended(workers, queue))
    try:
        while (pair := await queue.get()) is not None:
            yield pair
        for worker in workers:
            if worker.done():
                worker.result()
    finally:
        for task in (end, *workers):
            task.cancel()
        await asyncio.gather(end, *workers, return_exceptions=True)


def tokens_in(delta: Delta) -> int:
    """How many tokens a delta has. An engine on another server tells no ids: what comes at once is taken for one."""
    return len(delta.token_ids) or bool(delta.text)


def heard(logprobs: Sequence[Logprobs]) -> tuple[Logprobs, ...]:
    """Those of tokens that stand in the text."""
    return tuple(one for one in logprobs if not one[0].silent)


async def _ended(workers: Sequence[asyncio.Task[None]], queue: asyncio.Queue[tuple[int, StreamEvent] | None]) -> None:
    """Say so when all have ended, or one has failed."""
    await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
    await queue.put(None)
