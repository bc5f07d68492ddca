"""Control: what takes effect at once, on answers in progress and on settings, and never waits in line behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from weakref import WeakValueDictionary

import structlog

from bot import choices, commands, guild_choices
from bot.answering import Stop
from bot.commands.context import excerpt
from bot.config import Config
from bot.errors import Barred, DatabaseError, FloodWait, MessageGone, PlatformError, TextRefused, Unreachable
from bot.messages import (
    Action,
    ActionName,
    Claim,
    ConversationKey,
    Destination,
    Event,
    Finished,
    GuildKey,
    Message,
    MessageRef,
    Outgoing,
)
from bot.options import Page
from bot.permissions import may_change
from bot.ports import Adapter, Deliver, Forgotten, Mark, Received, Refusal, Store
from bot.settings import only

log = structlog.get_logger(__name__)

TRIES = 3
"""So often a message is deleted or edited."""
DELETED = "_(The question was deleted.)_"
NOT_OTHER = {
    Refusal.NO_OTHER: "There is no other answer to that question any more.",
    Refusal.NOT_YOURS: "Only who asked, or an owner of this bot, can go on from another answer.",
    Refusal.BUSY: "An answer is being made here. Please press again when it is there.",
}
NOT_AGAIN = "There is nothing here that I could answer again for you."
NOT_WRITTEN = "That could not be written down. Please try again."

Adapters = Mapping[tuple[str, str], Adapter]
"""By platform and bot account."""


@dataclass
class Running:
    """An answer in progress in this process."""

    claim: Claim
    alone: bool = False
    """Its earlier attempts ended with a process. Perhaps it is what ends them: nobody else is to go down with it."""
    stop: Stop = field(default_factory=Stop)
    task: asyncio.Task[None] | None = None
    last: Finished | None = None
    """What it came to, once that is known."""

    def cancel(self) -> None:
        """End it at once; the store has given it up already."""
        if self.task is not None and not self.task.cancelling():
            self.task.cancel()


class Control:
    """Stops, interrupts and removes answers, and changes settings.

    `running`: the answers in progress here, by id; `rest`: seconds between tries.
    """

    def __init__(
        self,
        store: Store,
        adapters: Adapters,
        config: Callable[[], Config],
        running: Mapping[int, Running],
        *,
        deliver: Deliver,
        rest: float,
    ) -> None:
        self._store = store
        self._adapters = adapters
        self._config = config
        self._running = running
        self._deliver = deliver
        self._rest = rest
        self._saying: set[tuple[str, str, str]] = set()
        """Chats in which a passing word waits for its turn: another one would be noise, where all see it."""
        self._marked: set[int] = set()
        """Answers that were to be stopped while no task was making them: a claim may have been on its way."""
        self.tasks: set[asyncio.Task[None]] = set()
        """What is said, deleted and chosen right now."""
        self._turns: WeakValueDictionary[ConversationKey | MessageRef | GuildKey, asyncio.Lock] = WeakValueDictionary()
        """Held while a press takes effect in a conversation or a guild, or is shown in a message; gone when nobody waits for it."""
        self._due: dict[MessageRef, Page] = {}
        """What messages of settings are to show."""

    def committed(self, event: Event, received: Received) -> None:
        """An event was committed: stop what is superseded, and obey actions."""
        self._supersede(received.superseded, received.orphans)
        for mark in received.marks:
            self._keep(self._mark(mark))
        if isinstance(event, Action):
            self._obey(event, received)
        elif isinstance(event, Message) and received.work and self._config().chat.while_answering == "interrupt":
            self._interrupt(event)

    def _obey(self, action: Action, received: Received) -> None:
        if action.name is ActionName.STOP:
            self._keep(self._stop(action, datetime.now(UTC)))
        elif action.name is ActionName.BRANCH:
            self._keep(self._say(action, _other_answer(received)))
        elif action.name is ActionName.CHOOSE and action.target is not None:
            self._keep(self._choose(action, MessageRef(action.key, action.target)))
        elif action.name is ActionName.RETRY and action.target and action.interaction and received.message is None:
            self.say(action, NOT_AGAIN)

    def removed(self, gone: Forgotten) -> None:
        """Answers were removed: stop making them, and delete what was sent of them."""
        self._supersede(gone.superseded, gone.orphans)

    def say(self, event: Message | Action, words: str) -> None:
        """Answer a message or a press with a passing word, without waiting for it."""
        if isinstance(event, Action):
            self._keep(self._say(event, words))
            return
        to = Destination(
            key=event.key,
            reply_to=None if event.direct else event.event_id,
            interaction=event.interaction,
            asked_at=event.sent_at,
        )
        self._keep(self._send(to, words, private=event.can_reply_privately and not event.direct))

    def marked(self, claim: Claim) -> Claim:
        """A new claim, with a stop that was committed while it was on its way."""
        if claim.id not in self._marked:
            return claim
        self._marked.discard(claim.id)
        return replace(claim, stopped=True)

    def _supersede(self, answers: Collection[int], orphans: Collection[MessageRef]) -> None:
        found = [running for answer in answers if (running := self._running.get(answer))]
        for running in found:
            running.cancel()
        if orphans:
            self._keep(self._clear([running.task for running in found if running.task], orphans))

    async def _clear(self, ending: Collection[asyncio.Task[None]], orphans: Collection[MessageRef]) -> None:
        """Delete messages once nobody writes in them any more."""
        if ending:
            await asyncio.wait(ending)
        for message in orphans:
            await self._delete(message)

    async def _delete(self, message: MessageRef) -> None:
        if not await self._call(message, lambda adapter: adapter.delete(message)):
            log.warning("a message of a removed answer stays", conversation=str(message.key))

    async def _mark(self, mark: Mark) -> None:
        """Say under an answer that its question was deleted. A process that ends before that leaves it unsaid."""
        if not await self._call(mark.parts[-1], lambda adapter: self._deliver.mark(adapter, mark, DELETED)):
            log.warning("an answer is not marked", conversation=str(mark.parts[-1].key))

    async def _call(self, message: MessageRef, call: Callable[[Adapter], Awaitable[None]]) -> bool:
        """Change a message, as patiently as that is worth; whether it is so now, or nobody can see it."""
        adapter = self._adapter(message.key)
        for _ in range(TRIES if adapter else 0):
            assert adapter is not None, "an account that is not connected is not called"
            try:
                await call(adapter)
                return True
            except (MessageGone, Barred):
                return True
            except FloodWait:
                continue  # the next turn comes when the platform allows it
            except Unreachable:
                await asyncio.sleep(self._rest)
            except PlatformError as error:
                log.warning("the platform refuses", conversation=str(message.key), error=str(error))
                return False
        return False

    async def _choose(self, action: Action, under: MessageRef) -> None:
        """A press under a message of settings. Presses of one conversation take effect in their order."""
        async with self._turn(action.key):
            try:
                page = await self._chosen(action)
            except DatabaseError as error:
                log.error("a choice could not be committed", conversation=str(action.key), error=str(error))
                await self._say(action, NOT_WRITTEN)
                return
            if page is None:
                await self._say(action, only(action.author))
                return
            self._due[under] = page
        async with self._turn(under):
            if self._due.get(under) is page:  # else a later press has something newer to show
                await self._show(under, page)

    def _turn(self, of: ConversationKey | MessageRef | GuildKey) -> asyncio.Lock:
        return self._turns.setdefault(of, asyncio.Lock())

    async def _show(self, under: MessageRef, page: Page) -> None:
        shown = Outgoing(text=page.text, buttons=page.buttons, form=True)

        async def edit(adapter: Adapter) -> None:
            try:
                await adapter.edit(under, shown)
            except TextRefused:
                await adapter.edit(under, replace(shown, plain=True))

        if not await self._call(under, edit):
            log.warning("a choice is not shown", conversation=str(under.key))
        if self._due.get(under) is page:
            del self._due[under]

    async def _chosen(self, action: Action) -> Page | None:
        """Change what the press changes, and give what is to be shown then; None for those who may not."""
        place, config = await self._store.find_conversation(action.key), self._config()
        if place is None:
            return Page(choices.GONE, ())
        if not (place.direct or may_change(config.permissions, action.author, action.key)):
            return None
        adapter = self._adapter(action.key)
        selects = adapter is not None and adapter.limits.selects
        if place.guild and guild_choices.is_about(action.choice):
            guild = GuildKey(place.key.platform, place.key.account, place.guild)
            return await self._chosen_for_guild(guild, action.choice, config, selects=selects)
        settings = choices.chosen(action.choice, place.settings, config)
        if settings != place.settings:
            await self._store.set_settings(place.id, settings)
        around = place.around if place.guild else None
        return choices.page(action.choice, settings, config, around=around, selects=selects)

    async def _chosen_for_guild(self, guild: GuildKey, choice: str, config: Config, *, selects: bool) -> Page:
        """The same on a page of the guild. Presses in its chats take effect one after the other."""
        async with self._turn(guild):
            before = await self._store.guild(guild)
            after = guild_choices.chosen(choice, before, config)
            if after != before:
                await self._store.set_guild(guild, after)
        return guild_choices.page(choice, after, config, selects=selects)

    def _interrupt(self, event: Message) -> None:
        """Who goes on talking stops the own answer, not another's; a command only waits for its turn.

        So does a file behind a file: several that were sent together come as one message each.
        """
        running = self._in(event)
        if not running or running.claim.event.author.id != event.author.id or commands.parse(event.text) is not None:
            return
        if not (_is_file(event) and _is_file(running.claim.event)):
            running.stop.set()

    async def _stop(self, action: Action, committed: datetime) -> None:
        """The stop is committed first: it holds for an answer that waits for its next attempt too.

        What was asked after it is not meant, although it may be here by now.
        """
        running = self._in(action)
        asker = self._asker(action, running)
        try:
            meant = await self._is_meant(action, running)
            answer = await self._store.stop(action.key, asker=asker, before=committed) if meant else None
        except DatabaseError as error:
            log.error("a stop could not be committed", conversation=str(action.key), error=str(error))
            await self._say(action, NOT_WRITTEN)
            return
        if answer is None:
            refused = meant and running is not None and asker not in {None, running.claim.event.author.id}
            only = "Only who asked, or an owner of this bot, can stop that answer."
            await self._say(action, only if refused else "There is nothing to stop.")
            return
        if making := self._running.get(answer):
            making.stop.set()
        else:
            self._marked.add(answer)
        if action.target is None:
            await self._say(action, "Stopping.")  # a button needs no word

    def _asker(self, action: Action, running: Running | None) -> str | None:
        """Whose answers this person may stop: the own ones; None means anybody's."""
        direct = running is not None and running.claim.event.direct
        owner = may_change(self._config().permissions, action.author, action.key)
        return None if direct or owner else action.author.id

    async def _is_meant(self, action: Action, running: Running | None) -> bool:
        """Whether a stop is about the current answer: a button may be under one that ended long ago."""
        parts = {part.message.message_id for part in running.claim.parts if part.message} if running else set()
        if action.target is None or action.target in parts:
            return True
        return await self._store.find_sent(action.key, action.target) is None

    def _in(self, event: Event) -> Running | None:
        """The answer that is being made where an event happened."""
        return next((one for one in self._running.values() if one.claim.event.key == event.key), None)

    async def _say(self, action: Action, words: str) -> None:
        """A passing word that nobody waits for in line: not kept, and nothing is lost with it."""
        # A press is no message that one could reply to: what it was under is.
        replied = action.target or action.event_id
        to = Destination(key=action.key, reply_to=replied, interaction=action.interaction, asked_at=action.sent_at)
        await self._send(to, words, private=action.can_reply_privately)

    async def _send(self, to: Destination, words: str, *, private: bool) -> None:
        """`private`: for one person alone, where the platform can do that. An interaction is answered in any case."""
        adapter, chat = self._adapter(to.key), (to.key.platform, to.key.account, to.key.chat)
        if adapter is None:
            return
        private = private and adapter.limits.private_answers
        if chat in self._saying and not (private or to.interaction):
            return
        self._saying.add(chat)
        try:
            await adapter.send(to, Outgoing(text=words, private=private, notice=True))
        except Barred:
            log.debug("not said to who does not want it", conversation=str(to.key))
        except PlatformError as error:
            log.warning("not said", conversation=str(to.key), error=str(error))
        finally:
            self._saying.discard(chat)

    def _adapter(self, key: ConversationKey) -> Adapter | None:
        """Of a connected account, at the pace of its chats."""
        adapter = self._adapters.get((key.platform, key.account))
        return None if adapter is None else self._deliver.paced(adapter)

    def _keep(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _other_answer(received: Received) -> str:
    """What is said of a press that asks for another answer to go on from."""
    if received.goes_on is not None:
        return f"The conversation goes on from this answer: {excerpt(received.goes_on.text)}"
    return NOT_OTHER[received.refusal or Refusal.NO_OTHER]


def _is_file(event: Message) -> bool:
    """Whether a message brings files. A voice message is talk."""
    return any(item.kind != "voice" for item in event.attachments)
