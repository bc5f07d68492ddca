"""An adapter whose calls keep the pace of their chat: for what is said beside the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.delivery.pacing import Slots
from bot.around import Around
from bot.errors import FloodWait
from bot.messages import ConversationKey, Destination, MessageRef, Outgoing
from bot.ports import Adapter


class Paced(Around):
    """An Adapter around another. Its calls share their chat's slot with the answers there, and wait for it in line."""

    def __init__(self, adapter: Adapter, slots: Slots) -> None:
        super().__init__(adapter)
        self._slots = slots

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """See `bot.ports.Adapter`. What an interaction's asker alone sees costs the chat no turn, and must come soon to be that."""
        if what.private and to.interaction is not None:
            return await super().send(to, what)
        async with self._turn(to.key):
            return await super().send(to, what)

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """See `bot.ports.Adapter`."""
        async with self._turn(message.key):
            await super().edit(message, what)

    async def delete(self, message: MessageRef) -> None:
        """See `bot.ports.Adapter`."""
        async with self._turn(message.key):
            await super().delete(message)

    @asynccontextmanager
    async def _turn(self, key: ConversationKey) -> AsyncIterator[None]:
        slot = self._slots.of(key, self.limits, direct=None)
        await slot.take()
        try:
            yield
        except FloodWait as error:
            slot.block(error.seconds)
            raise
