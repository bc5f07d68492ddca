"""Receive: every event is triaged and committed here before its platform may forget it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from bot.commands import as_action, parse
from bot.config import Config
from bot.messages import Action, Event, GuildKey, Message, Triage, Trigger
from bot.metrics import Metrics
from bot.permissions import always, in_thread, is_talk, may_change, named, triage
from bot.ports import Received, Store
from bot.strangers import Say, Strangers

log = structlog.get_logger(__name__)

Coming = Callable[[], None]
"""Called when what may have to be answered is about to be committed; must not block."""
Committed = Callable[[Event, Received], None]
"""Called after the commit; must not block."""


class Inbox:
    """The one entrance. `receive` is what every adapter's `listen` is given."""

    def __init__(
        self,
        store: Store,
        config: Callable[[], Config],
        coming: Coming,
        committed: Committed,
        say: Say,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._strangers = Strangers(store, say)
        self._config = config
        self._coming = coming
        self._committed = committed
        self._metrics = metrics or Metrics()

    async def receive(self, event: Event) -> None:
        """Commit an event once; a duplicate and an ignored message change nothing.

        What strangers say is not stored; who brings the pairing code is.
        Raises DatabaseError: the event is not safe, and the adapter must not acknowledge it.
        """
        config = self._config()
        event = named(config.groups, event)
        meant = always(config.groups, event, await self._trigger(event))
        paired = await self._strangers.paired(config, meant)
        if isinstance(event, Message) and await self._strangers.keep_out(config, event, paired=paired):
            self._ignored(event)
            return
        event, talk = _placed(config, as_action(meant)), config.chat.remember_group_talk
        decision = triage(config.permissions, event, paired=paired, remember_group_talk=talk)
        if decision is Triage.IGNORED:
            self._strangers.refuse(config, event, paired=paired)
            self._ignored(event)
            return
        if decision is Triage.PENDING:
            self._coming()
        received = await self._store.receive(event, decision)
        self._metrics.received(event, decision, duplicate=received.duplicate)
        if received.duplicate:
            log.debug("seen before", conversation=str(event.key), event_id=event.event_id)
            return
        self._committed(event, received)

    async def _trigger(self, event: Event) -> Trigger | None:
        """What the guild has chosen, where it makes a difference. Raises DatabaseError."""
        if not is_talk(event) or not event.author.guild:
            return None
        return await self._store.trigger(GuildKey(event.key.platform, event.key.account, event.author.guild))

    def _ignored(self, event: Event) -> None:
        self._metrics.received(event, Triage.IGNORED)
        log.debug("ignored", conversation=str(event.key), event_id=event.event_id)


def _placed(config: Config, event: Event) -> Event:
    """A press with the right of who presses, a question where it is to be answered. A command opens no thread."""
    if isinstance(event, Action):
        return replace(event, owner=may_change(config.permissions, event.author, event.key))
    if isinstance(event, Message) and parse(event.text) is None:
        return in_thread(config.groups, event)
    return event
