"""One answer on its way: pieces come in at their pace, the platform's calls go out at its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import structlog

from adapters.delivery.pacing import Clock, Later, Sleep
from adapters.delivery.posting import Posting, backoff
from adapters.text import Splitter, split, with_code_files
from bot.errors import Barred, FloodWait, MessageGone, PlatformError, TextRefused, Unreachable
from bot.messages import (
    AnswerState,
    Button,
    Claim,
    Destination,
    File,
    Finished,
    Notice,
    Outgoing,
    Piece,
    Preview,
    Text,
    Typing,
)
from bot.ports import Adapter

log = structlog.get_logger(__name__)

TYPING_AFTER_SECONDS = 0.2
"""An answer whose first text comes sooner has no typing sign: nobody would see it, and it is a call."""
TYPING_SECONDS = 4.0
"""Telegram's typing sign lasts 5 s, Discord's 10 s."""
HOLD_SECONDS = 0.05
"""While other answers are under way, one that ends so soon after its first text is sent whole, without a preview or a first
message that is edited at once: calls are what a platform gives least of, and nobody notices the wait."""
PREVIEW_LEAST_SECONDS = 0.2
"""Between two previews of an answer, however fast the platform's pace: text that comes in between is in the next one."""
PREVIEW_SECONDS = 20.0
"""A preview that does not change is shown again so often; Telegram's lives 30 s."""
LONGEST_STREAM = 400_000
"""Characters that are shown while they stream; the final text is whole in any case."""
MOST_FAILURES = 10
"""So many interim calls in a row fail, then only the final text is tried."""


class Answering:
    """What one answer's delivery knows. `run` once."""

    def __init__(
        self,
        claim: Claim,
        adapter: Adapter,
        posting: Posting,
        clock: Clock,
        sleep: Sleep,
        *,
        later: Later,
        alone: Callable[[], bool] = lambda: True,
        code_file_lines: int = 0,
    ) -> None:
        self._claim = claim
        self._adapter = adapter
        self._limits = adapter.limits
        self._posting = posting
        self._clock = clock
        self._sleep = sleep
        self._later = later
        self._alone = alone
        self._code_file_lines = code_file_lines
        self._splitter = Splitter(self._limits.text, self._limits.measure)
        self._chunks: list[str] = []
        self._length = 0
        self._notice = ""
        self._finished: Finished | None = None
        self._changed = asyncio.Event()
        self._typing: asyncio.Task[None] | None = None
        self._needs_slot = False
        """New text does not matter before the next slot: tokens come far more often than a chat may be called."""
        self._previewed = ("", 0.0)
        self._held_until: float | None = None
        """Nothing of it is shown before; None until there is text."""
        self._failures = 0
        self._quiet_until = clock()
        self._mute = False

    async def run(self, pieces: AsyncIterator[Piece]) -> Finished:
        """Deliver all pieces and return the last."""
        reader = asyncio.create_task(self._read(pieces))
        reader.add_done_callback(lambda _: self._changed.set())
        typing = self._later(TYPING_AFTER_SECONDS, self._begin_typing)
        try:
            while self._finished is None:
                if reader.done():
                    reader.result()
                    raise RuntimeError("the pieces ended without Finished")
                self._changed.clear()
                delay = await self._step()
                if delay != 0 and self._finished is None and not reader.done():
                    await self._pause(delay)
            typing.cancel()
            if self._typing is not None:
                self._typing.cancel()
            await self._end(self._finished)
            await reader
            return self._finished
        finally:
            typing.cancel()
            await _ended(reader, self._typing)

    async def _read(self, pieces: AsyncIterator[Piece]) -> None:
        """Take the pieces as they come: a slow platform must not hold up the engine."""
        async for piece in pieces:
            match piece:
                case Text():
                    self._add(piece.text)
                case Notice():
                    self._notice = piece.text
                    self._changed.set()
                case Finished():
                    self._finished = piece
                    self._changed.set()

    def _add(self, text: str) -> None:
        if self._length < LONGEST_STREAM:
            self._chunks.append(text)
            self._length += len(text)
        if not self._needs_slot:
            self._changed.set()

    def _begin_typing(self) -> None:
        if self._claim.kept is None and not self._chunks:
            self._typing = asyncio.create_task(self._type())

    async def _type(self) -> None:
        """The typing sign, until there is text."""
        to = Destination(key=self._claim.event.key, interaction=self._claim.event.interaction)
        while not self._chunks:
            wait = TYPING_SECONDS
            try:
                await self._adapter.show(to, Typing())
            except FloodWait as error:
                wait = max(wait, error.seconds)
            await self._sleep(wait)

    async def _pause(self, delay: float | None) -> None:
        """Until something has changed, or for so long."""
        end = None if delay is None else self._later(delay, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            if end is not None:
                end.cancel()

    async def _step(self) -> float | None:
        """Do what can be done now; says how long to wait, or None for as long as nothing changes."""
        self._needs_slot = False
        if (wait := self._held()) > 0:
            self._needs_slot = True
            return wait
        found = None if self._mute or self._finished else self._due()
        if found is None:
            return None
        index, what = found
        preview = self._previews(index) and not what.final
        if preview and (wait := self._preview_wait(what.text)) > 0:
            self._needs_slot = self._previewed[0] != what.text  # until then newer text changes nothing
            return wait
        wait = self._quiet_until - self._clock()
        if wait > 0 or not self._posting.slot.try_take():
            self._needs_slot = True
            return max(wait, self._posting.slot.wait())
        if preview:
            await self._preview(what.text)
        else:
            await self._try(index, what)
        return 0

    async def _preview(self, text: str) -> None:
        self._previewed = (text, self._clock())
        event = self._claim.event
        try:
            await self._adapter.show(Destination(key=event.key, reply_to=event.event_id), Preview(text))
        except FloodWait as error:
            self._posting.slot.block(error.seconds)

    def _due(self) -> tuple[int, Outgoing] | None:
        """The first message that is not what it should be by now; of a preview, the present text."""
        if not (self._chunks or self._notice):
            return None
        for index, what in self._wanted():
            if (self._previews(index) and not what.final) or self._posting.shown.get(index) != what:
                return index, what
        return None

    def _wanted(self) -> Iterator[tuple[int, Outgoing]]:
        stop = self._buttons("stop", "Stop")
        parts = self._splitter.update("".join(self._chunks))
        texts = [part.text for part in parts] or self._split(self._notice)[:1]
        for index, text in enumerate(texts):
            last = index == len(texts) - 1
            yield index, Outgoing(text=text, final=not last, buttons=stop if last else (), notice=not parts)

    def _previews(self, index: int) -> bool:
        """Whether a message is previewed before it is sent. Asked anew each time: the platform may have refused it."""
        return self._adapter.limits.previews and self._claim.event.direct and self._posting.known(index) is None

    def _held(self) -> float:
        """Seconds for which the first text is not shown yet."""
        if not self._chunks or self._finished or self._previewed[0] or self._posting.known(0) is not None:
            return 0
        if self._held_until is None:
            self._held_until = self._clock() + (0 if self._alone() else HOLD_SECONDS)
        return self._held_until - self._clock()

    def _preview_wait(self, text: str) -> float:
        shown, at = self._previewed
        if not shown:
            return 0
        return at + (PREVIEW_SECONDS if shown == text else PREVIEW_LEAST_SECONDS) - self._clock()

    async def _try(self, index: int, what: Outgoing) -> None:
        """An interim call: when it fails, what comes later makes up for it. Raises Barred: then nothing does."""
        try:
            await self._posting.attempt(index, what)
            self._failures = 0
        except Barred:
            raise
        except FloodWait as error:
            self._posting.slot.block(error.seconds)
        except (TextRefused, MessageGone) as error:
            self._failed(error)  # the next call is another one: plain, or anew
        except Unreachable as error:
            self._failed(error)
            self._quiet_until = self._clock() + backoff(self._failures)
        except PlatformError as error:
            self._failed(error)
            self._mute = True

    def _failed(self, error: PlatformError) -> None:
        self._failures += 1
        self._mute = self._failures >= MOST_FAILURES
        log.debug("an interim call failed", conversation=str(self._claim.event.key), error=repr(error))

    async def _end(self, finished: Finished) -> None:
        """Make the platform show the final text and nothing else of this answer, and close it."""
        stays = not (finished.erase or finished.unkept)
        if stays and self._claim.kept is None:
            await self._posting.keep(finished)
        # The model's code alone; files of their own can be edited away one by one, and leave the buttons under the text.
        least = self._code_file_lines if finished.drafts else 0
        text, code = with_code_files(finished.text, least)
        outgoing = self._outgoing(text, finished.files, private=finished.private)
        if outgoing:
            failed = finished.outcome in {AnswerState.FAILED, AnswerState.EXPIRED}
            form = bool(finished.buttons) and self._limits.buttons
            outgoing[-1] = replace(outgoing[-1], buttons=self._last_buttons(finished), form=form, failed=failed)
        outgoing += [Outgoing(text="", files=(file,)) for file in code]
        surplus = [index for index in self._posting.indices() if index >= len(outgoing)]
        for index, what in enumerate(outgoing):
            is_end = stays and not surplus and index == len(outgoing) - 1
            await self._post(index, what, finished if is_end else None)
        for index in reversed(surplus):
            await self._posting.remove(index)
        await self._posting.close(finished)

    async def _post(self, index: int, what: Outgoing, ends: Finished | None) -> None:
        if what.files or what.private:
            await self._posting.renew(index)  # an edit can neither bring a file nor hide what others see
        if self._posting.shown.get(index) != what:
            await self._posting.settle(index, what, ends)

    def _outgoing(self, text: str, files: tuple[File, ...], *, private: bool) -> list[Outgoing]:
        """A whole text as messages, the files with the last. Raises PlatformError if it may not be shown here."""
        event = self._claim.event
        if private and not (event.can_reply_privately or event.direct):
            raise PlatformError("an answer for the asker alone cannot be given here")
        if files and not self._limits.files:
            names = ", ".join(file.name for file in files)
            text, files = f"{text}\n\nFiles cannot be sent here: {names}", ()
        texts = self._split(text) or ([""] if files else [])
        outgoing = [Outgoing(text=part, private=private and not event.direct) for part in texts]
        if files:
            outgoing[-1] = replace(outgoing[-1], files=files)
        return outgoing

    def _last_buttons(self, finished: Finished) -> tuple[Button, ...]:
        if finished.buttons:
            return finished.buttons if self._limits.buttons else ()
        if not self._may_retry(finished):
            return ()
        other = self._buttons("branch", "Other answer") if self._has_siblings(finished) else ()
        return (*self._buttons("retry", "Retry"), *other)

    def _has_siblings(self, finished: Finished) -> bool:
        """Whether its question had an answer before: it was asked again, by a button or by a command."""
        again = any(draft.parent not in {None, self._claim.question.id} for draft in finished.drafts[:1])
        return bool(finished.drafts) and (self._claim.retry or again)

    def _may_retry(self, finished: Finished) -> bool:
        """Whether the question is one to a model, and is kept: commands have no drafts and do not fail."""
        return not (finished.private or finished.unkept) and (
            bool(finished.drafts) or finished.outcome is AnswerState.FAILED
        )

    def _split(self, text: str) -> list[str]:
        return split(text, self._limits.text, self._limits.measure)

    def _buttons(self, name: str, label: str) -> tuple[Button, ...]:
        return (Button(f"{name}:{self._claim.id}", label),) if self._limits.buttons else ()


async def _ended(*tasks: asyncio.Task[None] | None) -> None:
    """Those that still run are cancelled; what they raise is of no concern any more."""
    begun = [task for task in tasks if task is not None]
    for task in begun:
        task.cancel()
    if any(not task.done() or (not task.cancelled() and task.exception()) for task in begun):
        await asyncio.gather(*begun, return_exceptions=True)
