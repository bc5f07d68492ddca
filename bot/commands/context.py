"""What a command may use, and what it gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from bot.config import Config
from bot.errors import NotAllowed
from bot.messages import Claim, GuildKey, Reply, Settings, StoredMessage
from bot.permissions import is_admin, may_change
from bot.ports import Removed, Store
from bot.settings import is_number, merged, only

EXCERPT = 120
"""Characters of a text that is only to be recognised."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A command's result that is not a word but an answer of the model."""

    question: StoredMessage
    """What is answered: an older question, or the command itself."""


@dataclass(frozen=True, slots=True)
class Hear:
    """A command's result that is what is said in a message's recordings."""

    message: StoredMessage


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

    async def target(self, argument: str = "") -> StoredMessage | None:
        """The message that the command is about: by its number from /history, else the one that it replies to."""
        event = self.claim.event
        if is_number(argument):
            return next((m for m in await self.line() if m.id == int(argument)), None)
        return None if event.reply_to is None else await self.store.find_sent(event.key, event.reply_to)

    async def owns(self, message: StoredMessage) -> bool:
        """Whether who asks wrote a message, or what it answers."""
        author = message.author
        if author is None:
            path = await self.store.history(message.parent)
            author = path[-1].author if path else None
        return author is not None and author.id == self.claim.event.author.id


Result = Reply | Answer | Hear
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
    discreet: bool = False
    """See `bot.messages.Command`."""
    changes: bool = False
    """See `bot.messages.Command`."""
    menu_title: str = ""
    """It can be about a message, and is called so where that is chosen."""
    brings_files: bool = False
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
