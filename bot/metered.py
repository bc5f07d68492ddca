"""An adapter whose refused calls are counted, whoever makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bot.errors import PlatformError
from bot.messages import Attachment, Command, Destination, Limits, MessageRef, Outgoing, Preview, Typing
from bot.metrics import Metrics
from bot.ports import Adapter, Receive


class Metered:
    """An Adapter around another."""

    def __init__(self, adapter: Adapter, metrics: Metrics) -> None:
        self.name = adapter.name
        self._adapter = adapter
        self._metrics = metrics

    @property
    def limits(self) -> Limits:
        """See `bot.ports.Adapter`."""
        return self._adapter.limits

    async def listen(self, receive: Receive) -> None:
        """See `bot.ports.Adapter`."""
        await self._adapter.listen(receive)

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """See `bot.ports.Adapter`."""
        with self._counted():
            return await self._adapter.send(to, what)

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """See `bot.ports.Adapter`."""
        with self._counted():
            await self._adapter.edit(message, what)

    async def delete(self, message: MessageRef) -> None:
        """See `bot.ports.Adapter`."""
        with self._counted():
            await self._adapter.delete(message)

    async def show(self, to: Destination, sign: Typing | Preview) -> None:
        """See `bot.ports.Adapter`."""
        await self._adapter.show(to, sign)

    async def fetch(self, attachment: Attachment) -> bytes:
        """See `bot.ports.Adapter`."""
        with self._counted():
            return await self._adapter.fetch(attachment)

    async def publish(self, commands: Sequence[Command]) -> None:
        """See `bot.ports.Adapter`."""
        await self._adapter.publish(commands)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except PlatformError as error:
            self._metrics.refused(self.name, error)
            raise
