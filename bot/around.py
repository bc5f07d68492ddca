"""An adapter around another: what it does not say itself, the inner one does."""

from __future__ import annotations

from collections.abc import Sequence

from bot.messages import Attachment, Command, Destination, Limits, MessageRef, Outgoing, Preview, Typing
from bot.ports import Adapter, Receive


class Around:
    """Implements bot.ports.Adapter by another one, call by call."""

    def __init__(self, adapter: Adapter) -> None:
        self.name = adapter.name
        self._adapter = adapter

    @property
    def limits(self) -> Limits:
        """See `bot.ports.Adapter`."""
        return self._adapter.limits

    async def listen(self, receive: Receive) -> None:
        """See `bot.ports.Adapter`."""
        await self._adapter.listen(receive)

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """See `bot.ports.Adapter`."""
        return await self._adapter.send(to, what)

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """See `bot.ports.Adapter`."""
        await self._adapter.edit(message, what)

    async def delete(self, message: MessageRef) -> None:
        """See `bot.ports.Adapter`."""
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
