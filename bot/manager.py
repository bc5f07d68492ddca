"""The conversation manager: what one message gets, from top to bottom."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

import structlog

from bot import commands
from bot.answering import Answering, Run, Stop, generate, hear, until
from bot.config import Config
from bot.engines.registry import Registry
from bot.errors import EngineBroken, EngineError, EngineTimeout, NotAllowed, Told
from bot.messages import Claim, Piece, Reply
from bot.permissions import RateLimit, is_admin, messages_per_minute, tokens_per_day
from bot.ports import Fetch, Removed, Store
from bot.reading import Readers
from bot.voice import Voice

log = structlog.get_logger(__name__)


class Manager:
    """Answers claims, and tells what goes wrong. `answer` is the way of one message; below it are its steps."""

    def __init__(
        self,
        store: Store,
        models: Registry,
        config: Callable[[], Config],
        *,
        attempts: int,
        removed: Removed,
        voice: Voice | None = None,
    ) -> None:
        self._store = store
        self._models = models
        self._config = config
        self._attempts = attempts
        self._removed = removed
        self._voice = voice
        self._rate = RateLimit()

    async def answer(
        self, claim: Claim, stop: Stop, fetch: Fetch, *, selects: bool = False
    ) -> AsyncGenerator[Piece, None]:
        """Yield the pieces, last a Finished; `stop` ends it. Raises EngineError, Unreachable: worth another attempt.

        `fetch` and `selects`: of the adapter (`Limits.selects`).
        """
        if claim.kept is not None:
            yield claim.kept
            return
        answering = Answering(claim, claim.question)
        if claim.stopped:
            yield answering.finished(stopped=True)
            return
        run = partial(self._run, claim, selects=selects)
        try:
            self._check_rate(claim)
            asked: commands.Answer | commands.Hear | None = None
            if call := commands.parse(claim.event.text):
                result = await run(call)
                if isinstance(result, Reply):
                    yield answering.said(result, erase=call.name == "forgetme")
                    return
                asked = result
            async with aclosing(until(stop, await self._source(answering, asked, fetch, run))) as pieces:
                async for piece in pieces:
                    yield piece
            yield answering.finished(stopped=stop.is_set())
        except Told as error:
            if _may_pass(error) and claim.attempt < self._attempts:
                raise
            log.warning("told an error", conversation=str(claim.event.key), error=repr(error), exc_info=error.__cause__)
            yield answering.failed(error)

    async def _source(
        self, answering: Answering, asked: commands.Answer | commands.Hear | None, fetch: Fetch, run: Run
    ) -> AsyncGenerator[Piece, None]:
        """What the answer is made of: the model's words, or what is heard. `asked`: by a command. Raises NotAllowed."""
        config = self._config()
        readers = Readers(fetch, config.chat.max_document_bytes, self._voice)
        if isinstance(asked, commands.Hear):
            return hear(answering, asked.message, self._store, readers)
        if asked is not None:
            answering.question = asked.question
        await self._check_tokens(answering.claim)
        return generate(answering, self._store, self._models, config, readers, run=run)

    def _check_rate(self, claim: Claim) -> None:
        """Raises NotAllowed. Owners have no limits; a second attempt was counted at the first."""
        limits, event = self._config().permissions, claim.event
        if claim.attempt == 1 and not is_admin(limits, event.author, event.key):
            # What was written during an outage comes all at once; a retry is asked for when it comes.
            at = claim.received_at if claim.retry else event.sent_at
            most = messages_per_minute(limits, event.author, event.key)
            aloud = event.interaction is not None
            self._rate.admit(event.key.platform, event.author.id, at, most, aloud=aloud)

    async def _check_tokens(self, claim: Claim) -> None:
        """Raises NotAllowed. Commands are free: whoever has no tokens left may still have the data removed."""
        limits, event = self._config().permissions, claim.event
        most = tokens_per_day(limits, event.author, event.key)
        if most and not is_admin(limits, event.author, event.key):
            used = await self._store.count_today(event.key.platform, event.author.id)
            if used.prompt_tokens - used.cached_tokens + used.completion_tokens >= most:
                raise NotAllowed("You have used today's tokens. There are new ones after midnight (UTC).")

    async def _run(self, claim: Claim, call: commands.Call, *, selects: bool) -> commands.Result:
        models = {m.alias: m.description or m.name or "not loaded yet" for m in self._models.describe()}
        context = commands.Context(claim, self._store, self._config(), models, self._removed, selects)
        return await commands.run(context, call)


def _may_pass(error: Told) -> bool:
    """A failure of the engine that may be over at the next attempt; a time-out has kept the person long enough."""
    return isinstance(error, EngineError) and not isinstance(error, EngineBroken | EngineTimeout)
