"""The people and places of a test."""

from __future__ import annotations

from collections.abc import Callable

from tests.discord_fake.guilds import Guild, new_guild
from tests.discord_fake.people import Channel
from tests.discord_fake.permissions import Intent
from tests.discord_fake.records import Message
from tests.discord_fake.scene import Event, Scene, User
from tests.discord_fake.state import DM


class World:
    """Makes users, guilds and DMs. Everybody of whom the bot can know is made here."""

    def __init__(self, bot: User, emit: Callable[[Event], None], privileged: Intent) -> None:
        self.scene = Scene(bot, emit, privileged)
        self.scene.users[bot.id] = bot
        self.guilds: dict[int, Guild] = {}

    @property
    def bot(self) -> User:
        """The bot's own account."""
        return self.scene.bot

    def user(self, name: str, *, bot: bool = False, locale: str = "en-US") -> User:
        """A new user; the account's name is the name in small letters."""
        username = name.lower().replace(" ", "_")
        user = User(self.scene.snowflake(), username, None if bot else name, bot, locale)
        self.scene.users[user.id] = user
        return user

    def guild(self, name: str, *members: User, with_bot: bool = True) -> Guild:
        """A new guild; the first member owns it. It has no channels yet."""
        made = new_guild(self.scene, name, members)
        self.guilds[made.id] = made
        if with_bot:
            made.join(self.bot)
        return made

    def dm(self, user: User) -> Channel:
        """The DM of a user and the bot; the same at every call."""
        return self._dm(user, self.bot)

    def dm_between(self, user: User, other: User) -> Channel:
        """A DM of two others, in which a user may use an app that is their own."""
        return self._dm(user, other)

    def _dm(self, *recipients: User) -> Channel:
        for channel in self.scene.channels.values():
            if channel.type == DM and set(channel.recipients) == set(recipients):
                return channel
        made = Channel(self.scene, self.scene.snowflake(), DM, recipients=list(recipients))
        self.scene.channels[made.id] = made
        made.tell("CHANNEL_CREATE", made.json)
        return made

    def install_for(self, user: User) -> None:
        """A user takes the app for themselves: its commands are with them everywhere."""
        self.scene.installed_by.add(user.id)

    @property
    def channels(self) -> list[Channel]:
        """All of them."""
        return list(self.scene.channels.values())

    def messages(self) -> list[Message]:
        """What the bot wrote anywhere."""
        return [message for channel in self.channels for message in channel.from_bot]
