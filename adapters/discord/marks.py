"""How far a bot has heard: the mark from which it reads on after a pause."""

from __future__ import annotations

from datetime import datetime, timedelta

import discord

MARGIN = timedelta(minutes=3)
"""Messages of several channels do not come in the order of their ids, and one of several connections can be dead for two minutes
before that is seen; what is read twice is dropped by the store."""


class Marks:
    """Which messages are safe. Ids grow with time; `value` is below every message that is not committed."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._highest = 0
        self._frozen: int | None = None

    @property
    def value(self) -> int:
        """All messages up to this id were heard; 0 if nothing is known."""
        if self._frozen is not None:
            return self._frozen
        return min(self._open) - 1 if self._open else self._highest

    def begin(self, number: int) -> None:
        """A message is here, and not safe yet."""
        self._open.add(number)

    def done(self, number: int) -> None:
        """It is committed, or of no concern."""
        self._open.discard(number)
        self._highest = max(self._highest, number)

    def start(self, number: int) -> None:
        """What an earlier process has heard, or where the first one begins."""
        self._highest = max(self._highest, number)

    def freeze(self) -> None:
        """There may be messages that nobody has told of: the mark stays where it is."""
        if self._frozen is None:
            self._frozen = self.value

    def drop(self) -> None:
        """What is not safe by now never will be: it is to be read."""
        self.freeze()
        self._open.clear()

    def thaw(self) -> None:
        """They were read."""
        self._frozen = None


def since(mark: int, *, most: timedelta, joined: datetime | None, now: datetime) -> int:
    """The id after which a channel is read: the mark's, but no earlier than `most` ago, and not before the bot was there."""
    begin = max(discord.utils.snowflake_time(mark) - MARGIN, now - most)
    return discord.utils.time_snowflake(begin if joined is None else max(begin, joined))
