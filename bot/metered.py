"""An adapter whose refused calls are counted, whoever makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bot.around import Around
from bot.errors import PlatformError
from bot.messages import Attachment, Destination, MessageRef, Outgoing
from bot.metrics import Metrics
from bot.ports import Adapter


class Metered(Around):
    """An Adapter around another, which counts."""

    def __init__(self, adapter: Adapter, metrics: Metrics) -> None:
        super().__init__(adapter)
        self._metrics = metrics

    async def send(self, to: Destination, what: Outgoing) -> MessageRef:
        """See `bot.ports.Adapter`."""
        with self._counted():
            return await super().send(to, what)

    async def edit(self, message: MessageRef, what: Outgoing) -> None:
        """See `bot.ports.Adapter`."""
        with self._counted():
            await super().edit(message, what)

    async def delete(self, message: MessageRef) -> None:
        """See `bot.ports.Adapter`."""
        with self._counted():
            await super().delete(message)

    async def fetch(self, attachment: Attachment) -> bytes:
        """See `bot.ports.Adapter`."""
        with self._counted():
            return await super().fetch(attachment)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except PlatformError as error:
            self._metrics.refused(self.name, error)
            raise
