"""What people do with the bot's buttons and commands, and what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.discord_fake.errors import Json
from tests.discord_fake.records import Message
from tests.discord_fake.scene import Event, Scene, User
from tests.discord_fake.threads import Threads

COMMAND, COMPONENT, AUTOCOMPLETE = 2, 3, 4
"""Types of interactions."""
FIRST_ANSWER = 3.0
"""Seconds within which an interaction must be answered."""
TOKEN_LIFE = 15 * 60.0
"""Seconds that its token is good for afterwards."""
USER_FOLLOWUPS = 5
"""Follow-ups of an app that is installed by the user alone and not in the guild."""


@dataclass(eq=False)
class Interaction:
    """A press of a button, a choice, a command, or a request for suggestions."""

    id: int
    token: str
    type: int
    user: User
    channel: Threads
    at: float
    """Only time that the test lets go by: a slow machine is not a slow bot."""
    data: Json
    owners: Json
    """authorizing_integration_owners."""
    context: int
    """0 a guild, 1 a DM with the bot, 2 a private channel of others."""
    message: Message | None = None
    """The one with the button."""
    callback: Json | None = None
    """How the bot answered first."""
    original: Message | None = None
    """The message that the answer made, or, after a press, the one that it changes."""
    began_at: float = field(default_factory=time.monotonic)
    followups: list[Message] = field(default_factory=list)

    answered_at: float = 0.0
    """By the real clock."""

    @property
    def waited(self) -> float:
        """Real seconds until the bot answered; on the platform they would have to be less than three."""
        return self.answered_at - self.began_at

    @property
    def answered(self) -> bool:
        """Whether the bot answered at all."""
        return self.callback is not None

    @property
    def kind(self) -> int | None:
        """The callback's type: 4 message, 5 and 6 deferred, 7 the message is changed, 8 suggestions."""
        return None if self.callback is None else int(self.callback["type"])

    @property
    def thinking(self) -> bool:
        """Whether "is thinking..." is all that the user sees."""
        return self.kind == 5 and self.original is not None and self.original.loading

    @property
    def ephemeral(self) -> bool:
        """Whether only the user sees the answer."""
        return self.original is not None and self.original.ephemeral

    @property
    def messages(self) -> list[Message]:
        """What the user got, as it is now."""
        own = [self.original] if self.original is not None and self.original is not self.message else []
        return [message for message in own + self.followups if not message.deleted]

    @property
    def texts(self) -> list[str]:
        """The contents of what the user got."""
        return ["\n".join(message.texts) for message in self.messages if not message.loading]

    @property
    def choices(self) -> list[str]:
        """The names of the suggestions."""
        data = (self.callback or {}).get("data") or {}
        return [choice["name"] for choice in data.get("choices") or []]

    @property
    def in_guild_of_bot(self) -> bool:
        """Whether the bot is a member where it happens."""
        return self.channel.guild is not None and self.channel.guild.has_bot

    def failed(self) -> bool:
        """Whether the user reads "The application did not respond"."""
        return not self.answered and self.channel.scene.skew - self.at > FIRST_ANSWER

    def usable(self) -> bool:
        """Whether messages can still be sent by it."""
        return self.channel.scene.skew - self.at <= TOKEN_LIFE

    @property
    def metadata(self) -> Json:
        """The interaction_metadata of messages that answer it."""
        own: Json = {"id": str(self.id), "type": self.type, "user": self.user.json}
        own |= {"authorizing_integration_owners": self.owners}
        if self.type == COMPONENT and self.message is not None:
            return own | {"interacted_message_id": str(self.message.id)}
        target = self.data.get("target_id")
        return own | ({"target_message_id": target} if target and self.data["type"] == 3 else {})


def begin(
    channel: Threads, user: User, kind: int, data: Json, *, owners: Json, message: Message | None = None
) -> Interaction:
    """Tell the bot that somebody acted."""
    scene = channel.scene
    number = scene.snowflake()
    context = 0 if channel.guild else 1 if scene.bot in channel.recipients else 2
    token = f"aW50ZXJhY3Rpb246{number}-{next(scene.numbers):06}"
    made = Interaction(number, token, kind, user, channel, scene.skew, data, owners, context, message)
    scene.interactions[number] = made
    tell(scene, made)
    return made


def tell(scene: Scene, interaction: Interaction) -> None:
    """INTERACTION_CREATE, which comes without any intent, and from everywhere."""
    channel, user = interaction.channel, interaction.user
    rights = str(int(channel.may(scene.bot.id)))
    told: Json = {"id": str(interaction.id), "application_id": str(scene.application_id), "type": interaction.type}
    told |= {"token": interaction.token, "version": 1, "data": interaction.data, "channel_id": str(channel.id)}
    told |= {"channel": channel.json | {"permissions": str(int(channel.may(user.id)))}, "locale": user.locale}
    told |= {"entitlements": [], "authorizing_integration_owners": interaction.owners}
    told |= {"context": interaction.context, "app_permissions": rights, "attachment_size_limit": 10 * 2**20}
    guild = channel.guild
    if guild is not None:
        member = guild.members[user.id].json | {"permissions": str(int(channel.may(user.id)))}
        place = {"id": str(guild.id), "locale": guild.locale, "features": []}
        told |= {"guild_id": str(guild.id), "guild": place, "guild_locale": guild.locale, "member": member}
    else:
        told |= {"user": user.json}
    if interaction.message is not None:
        told |= {"message": channel.as_event(interaction.message)}
    scene.emit(Event("INTERACTION_CREATE", told, guild.id if guild else None))
