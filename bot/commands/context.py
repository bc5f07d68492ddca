"""What a command may use, and what it gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from bot.config import Config
from bot.errors import NotAllowed
from bot.messages import Claim, GuildKey, Reply, Settings, StoredMessage
from bot.permissions import is_admin, may_change
from bot.ports import Removed, Store
from bot.settings import merged, only

EXCERPT = 120
"""Characters of a text that is only to be recognised."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A command's result that is not a word but a new answer to an older question."""

    question: StoredMessage


@dataclass(frozen=True, slots=True)
class Context:
    """What a command may use."""

    claim: Claim
    store: Store
    config: Config
    models: Mapping[str, str]
    """Alias -> what it is, in words."""
    removed: Removed
    """Told of what a command has removed."""
    selects: bool = False
    """The platform shows a group of buttons as a select (`Limits.selects`)."""

    @property
    def admin(self) -> bool:
        """Whether the person who asks owns the bot."""
        return is_admin(self.config.permissions, self.claim.event.author, self.claim.event.key)

    @property
    def may_change(self) -> bool:
        """Who may change what others see: anybody in a private chat, owners and who manages the guild elsewhere."""
        event = self.claim.event
        return event.direct or may_change(self.config.permissions, event.author, event.key)

    @property
    def settings(self) -> Settings:
        """The conversation's own."""
        return self.claim.conversation.settings

    @property
    def around(self) -> Settings | None:
        """What its guild says, if it is in one."""
        return self.claim.conversation.around if self.claim.conversation.guild else None

    @property
    def here(self) -> Settings:
        """What holds here: the conversation's own, or else the guild's."""
        return merged(self.settings, self.claim.conversation.around)

    @property
    def guild(self) -> GuildKey | None:
        """The guild as whose member the person asks."""
        event = self.claim.event
        guild = "" if event.direct else event.author.guild
        return GuildKey(event.key.platform, event.key.account, guild) if guild else None

    def require(self) -> None:
        """Raises NotAllowed for those who may not change what others see."""
        if not self.may_change:
            raise NotAllowed(only(self.claim.event.author))

    async def change(self, settings: Settings) -> None:
        """Set the conversation's settings. Raises NotAllowed."""
        self.require()
        await self.store.set_settings(self.claim.conversation.id, settings)

    async def line(self) -> list[StoredMessage]:
        """The current line as it was when the command was dispatched: the command itself is not on it."""
        return await self.store.history(self.claim.question.parent)


Result = Reply | Answer
Run = Callable[[Context, str], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table."""

    run: Run
    help: str
    german: str
    """The help in German."""
    argument: str = ""
    private: bool = False
    """The result is for the asker's eyes."""
    changes: bool = False
    """See `bot.messages.Command`."""
    manages: bool = False
    """See `bot.messages.Command`."""
    hidden: bool = False
    """Neither in menus nor in /help: nobody types it."""
    suggest: Callable[[Config], Iterable[str]] | None = None
    """What can follow the name."""


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
