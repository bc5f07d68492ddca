"""Guilds, as the tests make them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.discord_fake.errors import Json
from tests.discord_fake.people import Channel
from tests.discord_fake.permissions import EVERYONE, NOTHING, UNASKED, Intent, Permission
from tests.discord_fake.places import GuildState, Member, Role
from tests.discord_fake.scene import Event, Scene, User
from tests.discord_fake.state import ANNOUNCEMENT, FORUM, TEXT


@dataclass(eq=False)
class Guild(GuildState):
    """A guild with its channels."""

    @property
    def channels(self) -> list[Channel]:
        """Those that are no threads."""
        return [c for c in self.scene.channels.values() if c.guild is self and not c.is_thread]

    @property
    def threads(self) -> list[Channel]:
        """All threads of all channels."""
        return [c for c in self.scene.channels.values() if c.guild is self and c.is_thread]

    def text(self, name: str) -> Channel:
        """A new text channel."""
        return self._channel(name, TEXT)

    def forum(self, name: str) -> Channel:
        """A new forum."""
        return self._channel(name, FORUM)

    def announcements(self, name: str) -> Channel:
        """A new announcement channel."""
        return self._channel(name, ANNOUNCEMENT)

    def _channel(self, name: str, kind: int) -> Channel:
        made = Channel(self.scene, self.scene.snowflake(), kind, name, self)
        self.scene.channels[made.id] = made
        made.tell("CHANNEL_CREATE", made.json)
        return made

    def role(self, name: str, permissions: Permission = NOTHING, *members: User) -> Role:
        """A new role, and who has it."""
        made = Role(self.scene.snowflake(), name, permissions, len(self.roles))
        self.roles[made.id] = made
        self.tell("GUILD_ROLE_CREATE", {"role": made.json})
        for user in members:
            self.give(user, made)
        return made

    def give(self, user: User, role: Role) -> None:
        """Give a role to a member."""
        member = self.members[user.id]
        member.roles.add(role.id)
        self.tell("GUILD_MEMBER_UPDATE", member.json, Intent.GUILD_MEMBERS, of=user)

    def rename(self, user: User, nick: str | None) -> None:
        """Give a member another name here."""
        member = self.members[user.id]
        member.nick = nick
        self.tell("GUILD_MEMBER_UPDATE", member.json, Intent.GUILD_MEMBERS, of=user)

    def join(self, user: User) -> None:
        """A new member. The bot's own coming is a GUILD_CREATE."""
        member = Member(user, self.scene.timestamp())
        self.members[user.id] = member
        if user == self.scene.bot:
            own = Role(self.scene.snowflake(), user.username, NOTHING, len(self.roles), user.id)
            self.roles[own.id] = own
            member.roles.add(own.id)
            self.tell("GUILD_CREATE", self.created(with_members=False))
        else:
            self.tell("GUILD_MEMBER_ADD", member.json, Intent.GUILD_MEMBERS)

    def leave(self, user: User) -> None:
        """A member goes or is sent away; of the bot itself this is a GUILD_DELETE."""
        if user == self.scene.bot:
            self.scene.emit(Event("GUILD_DELETE", {"id": str(self.id)}, self.id, Intent.GUILDS))
        else:
            self.tell("GUILD_MEMBER_REMOVE", {"user": user.json}, Intent.GUILD_MEMBERS)
        del self.members[user.id]

    def outage(self) -> None:
        """The platform can tell of this guild no more; who identifies meanwhile is told that it is unavailable, and nothing else."""
        self.tell("GUILD_DELETE", {"id": str(self.id), "unavailable": True})
        self.unavailable = True

    def recover(self) -> None:
        """It can again. What was written meanwhile is told by nobody."""
        self.unavailable = False
        self.tell("GUILD_CREATE", self.created(with_members=False) | {"unavailable": False})

    def tell(self, name: str, data: Json, intents: Intent = Intent.GUILDS, of: User | None = None) -> None:
        """An event of the guild, if the bot is in it. What befalls the bot itself is told without an intent."""
        if self.has_bot and not self.unavailable:
            needed = UNASKED if of == self.scene.bot else intents
            self.scene.emit(Event(name, data | {"guild_id": str(self.id)}, self.id, needed))

    def created(self, *, with_members: bool) -> Json:
        """What GUILD_CREATE tells. Without the intent for members the bot is told of itself only."""
        bot = self.scene.bot
        told = [member.json for user, member in self.members.items() if with_members or user == bot.id]
        seen = [channel.json for channel in self.channels if channel.bot_sees]
        threads = [thread.json for thread in self.threads if thread.bot_sees and not thread.archived]
        own: Json = {"joined_at": self.members[bot.id].joined_at, "large": len(self.members) > 250}
        own |= {"member_count": len(self.members), "members": told, "channels": seen}
        own |= {"threads": threads, "voice_states": [], "presences": [], "stage_instances": []}
        return self.json | own | {"guild_scheduled_events": [], "soundboard_sounds": []}


def new_guild(scene: Scene, name: str, members: tuple[User, ...]) -> Guild:
    """A guild; the first member owns it."""
    number = scene.snowflake()
    made = Guild(scene, number, name, members[0].id)
    made.roles[number] = Role(number, "@everyone", EVERYONE)
    for user in members:
        made.join(user)
    return made
