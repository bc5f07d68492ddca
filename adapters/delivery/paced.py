"""An adapter whose calls keep the pace of their chat: for what is said beside the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from adapters.delivery.pacing import Slots
from bot.errors import FloodWait
from bot.messages import (
    Attachment,
    Command,
    ConversationKey,
    Destination,
    Limits,
    MessageRef,
    Outgoing,
    Preview,
    Typing,
)
from bot.ports import Adapter, Receive


class Paced:
    """An Adapter around another. Its calls share their chat's slot with the answers there, and wait for it in line."""

    def __init__(self, adapter: Adapter, slots: Slots) -> None:
        self.name = adapter.name
        self._adapter = adapter
        self._slots = slots

    @property
    def limits(self) -> Limits:
        """See `bot.ports.Adapter`."""
        return self._adapter.limits

    async def listen(self, receive: Receive) -> None:
        """See `bot.ports.Adapter`."""
        await self._adapter.listen(receive)

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """See `bot.ports.Adapter`."""
        async with self._turn(to.key):
            return await self._adapter.send(to, what)

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """See `bot.ports.Adapter`."""
        async with self._turn(message.key):
            await self._adapter.edit(message, what)

    async def delete(self, message: MessageRef) -> None:
        """See `bot.ports.Adapter`."""
        async with self._turn(message.key):
            await self._adapter.delete(message)

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """See `bot.ports.Adapter`."""
        await self._adapter.show(to, sign)

    async def fetch(self, attachment: Attachment) -> bytes:
        """See `bot.ports.Adapter`."""
        return await self._adapter.fetch(attachment)

    async def publish(self, commands: Sequence[Command]) -> None:
        """See `bot.ports.Adapter`."""
        await self._adapter.publish(commands)

    @asynccontextmanager
    async def _turn(self, key: ConversationKey) -> AsyncIterator[None]:
        slot = self._slots.of(key, self._adapter.limits, direct=None)
        await slot.take()
        try:
            yield
        except FloodWait as error:
            slot.block(error.seconds)
            raise
