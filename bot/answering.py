"""The steps from a question to the model's words: persona, history, prompt, queue, stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from bot import commands, reading, voice
from bot.config import Config
from bot.engines.registry import Loaded, Registry
from bot.errors import EngineBroken, ModelError, NotAllowed, NothingToRead, Told
from bot.generation import Delta, Finish, Generation, Prefill, Sampling, Usage
from bot.messages import (
    AnswerState,
    Claim,
    Draft,
    Finished,
    MessageState,
    Notice,
    Piece,
    Quote,
    Reply,
    Role,
    Settings,
    StoredMessage,
    Text,
)
from bot.ports import Store
from bot.prompt import Turn
from bot.reasoning import CONTROLS, Visible
from bot.settings import merged, model_of, persona_of, transcripts_of

QUEUE_NOTICE_SECONDS = 2.0
"""Who waits longer than this is told the place in the queue."""
CONTEXT_SHARE = 4
"""At most a quarter of a small context is held free for the answer."""


Run = Callable[[commands.Call], Awaitable[commands.Result]]
"""Runs a command in the conversation that is being answered."""


@dataclass
class Answering:
    """An answer in the making: filled by `generate`, read by `finished` at any moment."""

    claim: Claim
    question: StoredMessage
    spoken: bool = False
    """The question is a command that was said."""
    word: Reply | None = None
    """The result of a command that was spoken, or that had to hear something."""
    unkept: bool = False
    """That command brought somebody's recording along: nothing of it is kept."""
    quote: str = ""
    """What was heard in the question, if that is shown."""
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    model: str | None = None
    usage: Usage = field(default_factory=Usage)
    """As the engine said last."""
    written: int = 0
    """Tokens since then."""
    window_start: int | None = None
    reasoned: bool = False
    cut_short: bool = False
    """The model did not come to its end: the limit of tokens was reached."""
    ended: bool = False
    """The engine has finished: a stop comes too late."""

    @property
    def cost(self) -> Usage:
        """Until now."""
        return replace(self.usage, completion_tokens=self.usage.completion_tokens + self.written)

    def finished(self, *, stopped: bool) -> Finished:
        """What it came to."""
        if self.word is not None:
            return self.said(self.word)
        stopped, cost = stopped and not self.ended, self.cost
        if not self.text.strip():
            return Finished(
                outcome=AnswerState.STOPPED if stopped else AnswerState.FAILED,
                text=self._whole("Stopped." if stopped else "The model had nothing to say to that."),
                moves_head=self._is_question(),
                model=self.model or "",
                usage=cost,
            )
        draft = Draft(
            role=Role.ASSISTANT,
            text=self.text,
            parent=self.question.id,
            state=MessageState.STOPPED if stopped else MessageState.FINAL,
            model=self.model,
            token_ids=None if self.reasoned else tuple(self.token_ids) or None,
            prompt_tokens=cost.prompt_tokens,
            cached_tokens=cost.cached_tokens,
            completion_tokens=cost.completion_tokens,
        )
        return Finished(
            outcome=AnswerState.STOPPED if stopped else AnswerState.DONE,
            text=self._whole(self.text, *self._notes(stopped=stopped)),
            drafts=(draft,),
            window_start=self.window_start,
            moves_head=not self.claim.side_branch,
            model=self.model or "",
            usage=cost,
        )

    def said(self, word: Reply, *, erase: bool = False) -> Finished:
        """What a command came to."""
        return Finished(
            outcome=AnswerState.DONE,
            text=self._whole(word.text),
            private=word.private,
            files=word.files,
            buttons=word.buttons,
            erase=erase,
            unkept=self.unkept,
            moves_head=False,
        )

    def failed(self, error: Told) -> Finished:
        """What it came to when an error is told. A command and what was not allowed are no part of the history.

        A message that nobody could read is not even kept. Who may not is told so in private, where that is possible.
        """
        event, refused = self.claim.event, isinstance(error, NotAllowed)
        asked = self._is_question() and not refused
        text = self._whole(self.text, error.words)
        return Finished(
            outcome=AnswerState.FAILED,
            text=text,
            private=refused and not self.quote and event.can_reply_privately and not event.direct,
            moves_head=asked,
            model=self.model or "",
            usage=self.cost,
            unkept=isinstance(error, NothingToRead),
            error=type(error).__name__,
        )

    def _whole(self, *parts: str) -> str:
        return "\n\n".join(part for part in (self.quote, *parts) if part)

    def _notes(self, *, stopped: bool) -> Iterator[str]:
        """What the person is to know beside the model's words; the model does not learn it as its own."""
        if self.cut_short and not stopped:
            yield "_(This is as far as I get at once. Ask me to go on.)_"
        if unread := reading.unread(self.question):
            yield unread

    def _is_question(self) -> bool:
        return not self.spoken and commands.parse(self.claim.event.text) is None


async def generate(
    answering: Answering, store: Store, models: Registry, config: Config, readers: reading.Readers, *, run: Run
) -> AsyncGenerator[Piece, None]:
    """Yield the model's words as they come, or run a command that was spoken.

    Raises Told; Unreachable if the platform keeps an attachment.
    """
    here = answering.claim.conversation
    settings = merged(here.settings, here.around)
    answering.question = await reading.read(answering.question, store, readers)
    reading.check(answering.question)
    if transcripts_of(settings, config) == "always" and (quote := reading.quote(answering.question)):
        answering.quote = quote
        yield Quote(f"{quote}\n\n")
    if call := commands.spoken(answering.question):
        answering.spoken = True
        result = await run(call)
        if isinstance(result, Reply):
            answering.word = result
            return
        assert isinstance(result, commands.Answer), "a command that hears something is not said"
        answering.question = result.question
    loaded = await _load(models, model_of(settings, config))
    path = await _path(answering, store)
    request = await _request(answering, path, loaded, settings, config)
    visible = Visible(loaded.prompts.answer_head)
    async with loaded.scheduler.ticket(_person(answering.claim)) as ticket:
        async for place in ticket.waiting(QUEUE_NOTICE_SECONDS):
            yield Notice(f"I will begin soon: place {place} in the queue.")
        answering.model = loaded.engine.name
        async with aclosing(ticket.stream(request)) as stream:
            async for item in stream:
                if shown := _take(answering, item, visible):
                    yield Text(shown)
    if rest := visible.end():
        answering.text += rest
        yield Text(rest)


async def hear(
    answering: Answering, message: StoredMessage, store: Store, readers: reading.Readers
) -> AsyncGenerator[Piece, None]:
    """Find out what is said in the recordings of a message.

    Raises EngineError if the speech model fails; Unreachable if the platform keeps a recording.
    """
    answering.unkept = message.id == answering.question.id
    yield Notice("I am listening.")
    heard = await reading.read(message, store, readers)
    recordings = tuple(item for item in heard.attachments if voice.is_recording(item.attachment))
    only = replace(heard, attachments=recordings)
    words = [part for part in (reading.quote(only), reading.unread(only)) if part]
    answering.word = Reply("\n\n".join(words))


class Stop:
    """An answer is to end. As asyncio.Event is, but calls back: a task that waits for it would be one more for each answer."""

    def __init__(self) -> None:
        self._set = False
        self._calls: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Whether it was told."""
        return self._set

    def set(self) -> None:
        """Tell it, once and for all."""
        calls, self._calls, self._set = self._calls, [], True
        for call in calls:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Call once it is set; soon, if it is."""
        if self._set:
            asyncio.get_running_loop().call_soon(call)
        else:
            self._calls.append(call)


class _Handed:
    """Pieces on their way from one task to another, None for their end: asyncio.Queue as far as one needs it for each token."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[Piece | None] = deque()
        self._awaited: asyncio.Future[None] | None = None

    def put(self, piece: Piece | None) -> None:
        self._pieces.append(piece)
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    async def get(self) -> Piece | None:
        while not self._pieces:
            self._awaited = self._loop.create_future()
            await self._awaited
        return self._pieces.popleft()


async def until(stop: Stop, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
    """The pieces until `stop` is set; then their source is closed at once, which frees the engine."""
    handed = _Handed()

    async def pump() -> None:
        async with aclosing(pieces):
            async for piece in pieces:
                handed.put(piece)

    source = asyncio.create_task(pump())
    source.add_done_callback(lambda _: handed.put(None))
    stop.then(lambda: _cancel_once(source))
    try:
        while (piece := await handed.get()) is not None:
            yield piece
        if not (source.cancelled() and stop.is_set()):
            source.result()
    finally:
        _cancel_once(source)
        if not source.done():
            await asyncio.wait((source,))


def _cancel_once(task: asyncio.Task[None]) -> None:
    """A second time would interrupt what the first one cleans up."""
    if not task.cancelling():
        task.cancel()


def _take(answering: Answering, item: Prefill | Delta | Finish, visible: Visible) -> str:
    """Write an item of the stream down; returns the text that can be shown."""
    match item:
        case Delta():
            answering.token_ids.extend(item.token_ids)
            answering.written += len(item.token_ids) or bool(item.text)
            shown = visible.feed(item.text)
            answering.reasoned = visible.hidden
            answering.text += shown
            return shown
        case Prefill():
            answering.usage = Usage(prompt_tokens=item.total, cached_tokens=item.cached)
        case Finish():
            answering.usage = item.usage
            answering.cut_short = item.reason == "length"
            answering.ended = True
    answering.written = 0
    return ""


async def _path(answering: Answering, store: Store) -> Sequence[StoredMessage]:
    """The history up to the question; a command may have put another one in the claim's place."""
    claim = answering.claim
    if claim.path is not None and answering.question is claim.question:
        return claim.path
    path = await store.history(answering.question.id)
    # A command that failed before is in no history, and is asked again all the same.
    return [*path, answering.question] if answering.question.state is MessageState.COMMAND else path


async def _request(
    answering: Answering, path: Sequence[StoredMessage], loaded: Loaded, settings: Settings, config: Config
) -> Generation:
    """History -> a prompt that fits -> a request."""
    conversation, engine = answering.claim.conversation, loaded.engine
    asked = (commands.as_asked(m, answering.question.id) for m in path)
    told = [(m, words) for m in asked if (words := reading.told(m)).strip()]
    persona = config.personas[persona_of(settings, config)]
    system = settings.system_prompt or persona.system
    turns = [
        Turn(Role.SYSTEM, system),
        *(_turn(m, words, engine.name, group=not conversation.direct) for m, words in told),
    ]
    reserve = min(config.chat.max_tokens, engine.context_length // CONTEXT_SHARE)
    prompt = await loaded.prompts.build(turns, day=conversation.first_day, max_tokens=reserve)
    if prompt.cut:
        answering.window_start = told[prompt.turns_from - 1][0].id
    sampling = Sampling(
        temperature=loaded.config.temperature if persona.temperature is None else persona.temperature,
        top_p=loaded.config.top_p if persona.top_p is None else persona.top_p,
    )
    tokens = min(config.chat.max_tokens, engine.context_length - prompt.length)
    return Generation(
        prompt=prompt.ids,
        messages=prompt.messages,
        max_tokens=tokens,
        sampling=sampling,
        shows=CONTROLS,
    )


async def _load(models: Registry, alias: str) -> Loaded:
    try:
        return await models.get(alias)
    except ModelError as error:
        words = f"The model {alias} cannot be loaded; my owner finds the reason in the log. /model chooses another."
        raise EngineBroken(words, detail=str(error)) from error


def _turn(message: StoredMessage, words: str, model: str, *, group: bool) -> Turn:
    name = message.author.name if group and message.author and message.role is Role.USER else None
    return Turn(message.role, words, name, message.token_ids if message.model == model else None)


def _person(claim: Claim) -> str:
    return f"{claim.event.key.platform}:{claim.event.author.id}"
