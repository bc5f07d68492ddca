"""What every section of config.toml is made of, and the sections about the ways in: the page, Telegram, and who may."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

MIN_CODE, MAX_CODE = 8, 64
"""Characters of the pairing code: few tries are allowed, and a deep link of Telegram's takes 64."""
WEB_PLATFORM = "web"
"""Who has a token for the page, or is alone on its machine, may talk unless denied; `web:owner` is an owner always."""
WEB_OWNER = "owner"
"""Who the web page's owner is on its platform: whoever has `web.token`, or reaches the page where no token is asked for."""
MIN_TOKEN = 12
"""Characters of a token for the web page. A random one of so many stands for 60 bits and more; a word does not."""
STRANGER_WORD = "I do not know you yet. My owner can let you in with this id: {id}"
STRANGER_WORD_IN_GROUPS = (
    "I do not know you here yet. My owner can let in you alone with the id {id}, or everybody in this chat with {chat}"
)
MAX_WORD = 1000
"""Characters: half of what the strictest platform takes in one message."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PLACE = re.compile(r"\{\w*\}")
_ENTRY = re.compile(r"[a-z]+:(?:(?:role|chat|guild)/)?[^/]+")
_PERSON = re.compile(r"[\w.-]{1,64}")
_BOT_TOKEN = re.compile(r"\d{1,20}:[A-Za-z0-9_-]{20,}")
_WEBHOOK_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")
_DISCORD_TOKEN = re.compile(r"([A-Za-z0-9_-]{20,})\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]{20,}")


def _seconds(value: object) -> object:
    """`"90s"`, `"5m"`, `"1h"`, `"2d"` or a number of seconds."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNITS[match[2] or "s"]
    if isinstance(value, str | bool):
        raise ValueError(f'{value!r} is no duration; write seconds, or text like "90s", "5m", "1h", "2d"')  # noqa: TRY004 - pydantic reports a ValueError
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
"""A duration in config.toml: seconds as a number, or text like "90s", "5m", "1h", "2d"."""


class Section(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def check_url(url: str, example: str = "http://127.0.0.1:8000/v1") -> None:
    """Raises ValueError. The words do not repeat the URL: there may be a password in it."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"a server's URL looks like {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a server's URL holds no password; api_key is the place for it")
    if parts.query or parts.fragment or any(char.isspace() for char in url):
        raise ValueError("a server's URL ends with its path, such as /v1")
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError("a server's URL has a port between 0 and 65535") from error


def _check_origin(origin: str, key: str) -> None:
    """Raises ValueError for what a browser would never send as an origin."""
    parts = urlsplit(origin)
    if parts.scheme not in {"http", "https"} or not parts.netloc or f"{parts.scheme}://{parts.netloc}" != origin:
        raise ValueError(f"{key}: {origin!r} is not like https://chat.example.org (no path, no slash at the end)")


class LimitsConfig(Section):
    """Limits of those whom an entry names; what is left out is as for everybody else."""

    messages_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_day: int | None = Field(default=None, ge=0)


class PermissionsConfig(Section):
    """Who may. Entries are `platform:user-id`, `platform:role/ID`, `platform:chat/ID`, `platform:guild/ID`, or `platform:*`."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    admins: tuple[str, ...] = ()
    pairing_code: SecretStr = SecretStr("")
    stranger_word: str = Field(default=STRANGER_WORD, max_length=MAX_WORD)
    stranger_word_in_groups: str = Field(default=STRANGER_WORD_IN_GROUPS, max_length=MAX_WORD)
    messages_per_minute: int = Field(default=20, ge=1)
    tokens_per_day: int = Field(default=0, ge=0)
    limits: dict[str, LimitsConfig] = {}

    @field_validator("limits")
    @classmethod
    def _are_entries(cls, limits: dict[str, LimitsConfig]) -> dict[str, LimitsConfig]:
        for entry in limits:
            if not _ENTRY.fullmatch(entry):
                raise ValueError(f'{entry!r} is no entry; they are like "discord:role/7"')
        return limits

    @field_validator("pairing_code")
    @classmethod
    def _is_a_code(cls, code: SecretStr) -> SecretStr:
        """Words of an error never hold the code."""
        text = code.get_secret_value()
        if text and not (MIN_CODE <= len(text) <= MAX_CODE and text.isprintable() and " " not in text):
            raise ValueError(f"a code has {MIN_CODE} to {MAX_CODE} characters and no blank")
        return code

    @field_validator("stranger_word", "stranger_word_in_groups")
    @classmethod
    def _has_known_places(cls, word: str) -> str:
        if strange := set(_PLACE.findall(word)) - {"{id}", "{chat}"}:
            raise ValueError(f"there is no {sorted(strange)[0]}; there are {{id}} and {{chat}}")
        return word


class GroupsConfig(Section):
    """What is answered in groups beside what is addressed to the bot, and where. Entries are those of [permissions]."""

    names: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()

    @field_validator("names")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if any(not name.strip() for name in names):
            raise ValueError("a name has at least one letter")
        return names


class WebConfig(Section):
    """The web page that `hearth run` serves."""

    enabled: bool = True
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8080, ge=0, le=65535)
    token: str = ""
    people: dict[str, str] = {}
    metrics_token: str = ""
    public_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_safe(self) -> WebConfig:
        """Words of an error never hold a token."""
        own = {name: token for name in ("token", "metrics_token") if (token := getattr(self, name))}
        tokens = own | {f"people.{name}": token for name, token in self.people.items()}
        for name, token in tokens.items():
            if len(token) < MIN_TOKEN:
                raise ValueError(f"{name}: a token has {MIN_TOKEN} characters or more (openssl rand -hex 16 makes one)")
        if len(set(tokens.values())) < len(tokens):
            raise ValueError("two tokens are the same: nobody could tell whose it is")
        for name in self.people:
            if name == WEB_OWNER or not _PERSON.fullmatch(name):
                raise ValueError(
                    f"people: {name!r} can be nobody's name here (letters, digits, . _ -; not {WEB_OWNER})"
                )
        for origin in self.public_origins:
            _check_origin(origin, "public_origins")
        for proxy in self.trusted_proxies:
            ipaddress.ip_network(proxy, strict=False)
        return self


class ApiConfig(Section):
    """The OpenAI-compatible API, on the web page's port under /v1."""

    enabled: bool = True
    aliases: dict[str, str] = {}
    cors_origins: tuple[str, ...] = ()
    queue_per_key: int = Field(default=64, ge=1)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            _check_origin(origin, "cors_origins")
        return tuple(origin.lower() for origin in origins)  # as browsers send them


class TelegramConfig(Section):
    """A Telegram bot."""

    token: SecretStr = SecretStr("")
    api_base: str = "https://api.telegram.org"
    webhook_url: str = ""
    webhook_host: str = Field(default="127.0.0.1", min_length=1)
    webhook_port: int = Field(default=8081, ge=0, le=65535)
    webhook_secret: SecretStr = SecretStr("")
    private_pace: Seconds = 1.3
    group_pace: Seconds = 3.4
    calls_per_second: float = Field(default=30.0, gt=0, le=10_000)

    @property
    def account(self) -> str:
        """The bot's id, with which its token begins; empty without a token: then there is no Telegram."""
        return self.token.get_secret_value().partition(":")[0]

    @field_validator("api_base")
    @classmethod
    def _server(cls, url: str) -> str:
        check_url(url, "https://api.telegram.org")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_whole(self) -> TelegramConfig:
        """Words of an error never hold the token."""
        token, secret = self.token.get_secret_value(), self.webhook_secret.get_secret_value()
        if token and not _BOT_TOKEN.fullmatch(token):
            raise ValueError("token: BotFather's look like 123456789:AAF0aBcDeFgHiJkLmNoPqRsTuVwXyZ-0123")
        if secret and not _WEBHOOK_SECRET.fullmatch(secret):
            raise ValueError("webhook_secret: 16 to 256 characters of A-Z, a-z, 0-9, _ and - (openssl rand -hex 16)")
        if self.webhook_url:
            try:
                check_url(self.webhook_url, "https://chat.example.org/telegram")
            except ValueError as error:
                raise ValueError(f"webhook_url: {error}") from error
        return self


class DiscordConfig(Section):
    """A Discord bot."""

    token: SecretStr = SecretStr("")
    api_base: str = "https://discord.com/api/v10"
    gateway: str = ""
    pace: Seconds = 1.2
    shard_count: int = Field(default=0, ge=0)
    shard_ids: tuple[int, ...] = ()

    @property
    def account(self) -> str:
        """The bot's id, with which its token begins; empty without a token: then there is no Discord."""
        return _discord_id(self.token.get_secret_value())

    @field_validator("api_base")
    @classmethod
    def _server(cls, url: str) -> str:
        check_url(url, "https://discord.com/api/v10")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_whole(self) -> DiscordConfig:
        """Words of an error never hold the token."""
        token = self.token.get_secret_value()
        if token and not _discord_id(token):
            raise ValueError(
                "token: the developer portal's (Bot, Reset Token) has three parts with a point between them"
            )
        if self.gateway and urlsplit(self.gateway).scheme not in {"ws", "wss"}:
            raise ValueError("gateway: a gateway's URL begins with wss://; empty means Discord's own")
        if any(not 0 <= number < self.shard_count for number in self.shard_ids):
            raise ValueError("shard_ids: numbers from 0 to below shard_count, which says how many there are in all")
        return self


def _discord_id(token: str) -> str:
    """The number that the first part of a bot's token stands for; empty if it does for none."""
    match = _DISCORD_TOKEN.fullmatch(token)
    if match is None:
        return ""
    try:
        number = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return number if number.isdecimal() else ""
