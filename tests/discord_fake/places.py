"""A guild's own state: its members and their roles."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.discord_fake.errors import Json
from tests.discord_fake.permissions import EVERYTHING, Permission
from tests.discord_fake.scene import Scene, User

_NONE = (
    *("icon", "description", "home_header", "splash", "discovery_splash", "banner", "afk_channel_id"),
    *("public_updates_channel_id", "rules_channel_id", "safety_alerts_channel_id", "system_channel_id"),
    *("application_id", "widget_channel_id", "vanity_url_code", "max_presences", "incidents_data"),
)
_ZERO = (
    *("system_channel_flags", "verification_level", "default_message_notifications", "mfa_level"),
    *("explicit_content_filter", "premium_tier", "premium_subscription_count", "nsfw_level"),
)
"""What no test of a chat assistant is about."""


@dataclass
class Role:
    """A role. The one with the guild's own id is @everyone."""

    id: int
    name: str
    permissions: Permission
    position: int = 0
    managed_by: int | None = None
    """The bot whose own role this is."""

    @property
    def json(self) -> Json:
        """A GuildRoleResponse."""
        colors = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
        own: Json = {"id": str(self.id), "name": self.name, "permissions": str(int(self.permissions))}
        unset = {"color": 0, "colors": colors, "hoist": False, "icon": None, "unicode_emoji": None, "flags": 0}
        own |= unset | {"position": self.position, "mentionable": True, "managed": self.managed_by is not None}
        return own | ({"tags": {"bot_id": str(self.managed_by)}} if self.managed_by is not None else {})

    @property
    def mention(self) -> str:
        """As it stands in a text."""
        return f"<@&{self.id}>"


@dataclass
class Member:
    """A user in a guild."""

    user: User
    joined_at: str
    nick: str | None = None
    roles: set[int] = field(default_factory=set)

    @property
    def brief(self) -> Json:
        """Without the user, as it comes along with messages."""
        own: Json = {"nick": self.nick, "roles": [str(role) for role in sorted(self.roles)]}
        unset: Json = {"avatar": None, "banner": None, "communication_disabled_until": None, "premium_since": None}
        return own | unset | {"joined_at": self.joined_at, "flags": 0, "pending": False, "mute": False, "deaf": False}

    @property
    def json(self) -> Json:
        """A GuildMemberResponse."""
        return self.brief | {"user": self.user.json}


@dataclass
class GuildState:
    """A guild without the hands that make its channels: see guilds.Guild."""

    scene: Scene
    id: int
    name: str
    owner_id: int
    locale: str = "en-US"
    members: dict[int, Member] = field(default_factory=dict)
    roles: dict[int, Role] = field(default_factory=dict)
    unavailable: bool = False
    """Nothing of it is told at present."""

    @property
    def has_bot(self) -> bool:
        """Whether the bot is a member."""
        return self.scene.bot.id in self.members

    def base(self, user_id: int) -> Permission:
        """What a member may do without a look at the channel."""
        if user_id == self.owner_id:
            return EVERYTHING
        found = self.roles[self.id].permissions
        for role in self.members[user_id].roles:
            found |= self.roles[role].permissions
        return found

    @property
    def json(self) -> Json:
        """What a GuildWithCountsResponse and a GUILD_CREATE have in common."""
        own: Json = {"id": str(self.id), "name": self.name, "owner_id": str(self.owner_id), "region": "deprecated"}
        own |= {"features": [], "emojis": [], "stickers": [], "preferred_locale": self.locale, "afk_timeout": 300}
        own |= {"roles": [role.json for role in self.roles.values()], "widget_enabled": False, "nsfw": False}
        own |= {"max_members": 500_000, "max_stage_video_channel_users": 50, "max_video_channel_users": 25}
        own |= {"premium_progress_bar_enabled": False, "premium_progress_bar_enabled_user_updated_at": None}
        return own | dict.fromkeys(_NONE) | dict.fromkeys(_ZERO, 0)
