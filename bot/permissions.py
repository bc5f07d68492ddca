"""Who may talk to the bot, who owns it, and how much is enough: pure rules over the configuration."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, TypeGuard

from bot.config import GroupsConfig, PermissionsConfig
from bot.errors import NotAllowed
from bot.messages import Action, Author, ConversationKey, Edited, Event, Message, Triage, Trigger
from bot.ways_in import WEB_OWNER, WEB_PLATFORM

LOCAL_PLATFORM = "console"
"""Who reaches the local socket owns the process already: always allowed, always an owner, never limited."""
MINUTE = timedelta(minutes=1)
_ANOTHERS = re.compile(r"\s*/\w+@\w")
"""A command with a bot's name. If the name were this bot's, its adapter would have said that it is addressed."""


def matches(entries: tuple[str, ...], author: Author, key: ConversationKey) -> bool:
    """Whether an entry names this person or place.

    `telegram:42` is a person, `telegram:chat/-100` a chat with its threads, `discord:role/7` a role, `discord:guild/5` a
    guild, `telegram:*` everybody there.
    """
    return bool(entries) and any(not level.isdisjoint(entries) for level in _levels(author, key))


def _levels(author: Author, key: ConversationKey) -> tuple[set[str], ...]:
    """The entries that name a person or a place, the closest first."""
    guilds = {f"{key.platform}:guild/{author.guild}"} if author.guild else set()
    return (
        {f"{key.platform}:{author.id}"},
        {f"{key.platform}:role/{role}" for role in author.roles},
        {f"{key.platform}:chat/{key.chat}"},
        guilds,
        {f"{key.platform}:*"},
    )


def may_talk(config: PermissionsConfig, author: Author, key: ConversationKey, *, paired: bool = False) -> bool:
    """Denied beats allowed; nobody is allowed who is not named, or `paired`; another bot only by its own id (no loops)."""
    if _owns_the_process(author, key):
        return True
    if matches(config.deny, author, key):
        return False
    if key.platform == WEB_PLATFORM:
        return True
    if author.is_bot:
        return f"{key.platform}:{author.id}" in config.allow
    return paired or matches(config.allow, author, key) or is_admin(config, author, key)


def is_stranger(config: PermissionsConfig, author: Author, key: ConversationKey) -> bool:
    """Whether somebody may not talk whom the pairing code would let in: neither denied nor a bot."""
    return not may_talk(config, author, key) and may_talk(config, author, key, paired=True)


def is_admin(config: PermissionsConfig, author: Author, key: ConversationKey) -> bool:
    """Whether this person owns the bot."""
    return _owns_the_process(author, key) or matches(config.admins, author, key)


def may_change(config: PermissionsConfig, author: Author, key: ConversationKey) -> bool:
    """Whether this person may change what others see where they write: an owner, and who manages the guild."""
    return author.manages or is_admin(config, author, key)


def messages_per_minute(config: PermissionsConfig, author: Author, key: ConversationKey) -> int:
    """How many messages this person may write where this one is."""
    own = _limits(config, author, key, "messages_per_minute")
    return max(own) if own else config.messages_per_minute


def tokens_per_day(config: PermissionsConfig, author: Author, key: ConversationKey) -> int:
    """How many tokens this person may use before an answer is begun where this is; 0 = no limit."""
    own = _limits(config, author, key, "tokens_per_day")
    if not own:
        return config.tokens_per_day
    return 0 if 0 in own else max(own)


def _limits(
    config: PermissionsConfig,
    author: Author,
    key: ConversationKey,
    name: Literal["messages_per_minute", "tokens_per_day"],
) -> list[int]:
    """What the closest entries that have this limit say: several if those are roles."""
    for level in _levels(author, key) if config.limits else ():
        entries = (config.limits[entry] for entry in level & config.limits.keys())
        if own := [limit for entry in entries if (limit := getattr(entry, name)) is not None]:
            return own
    return []


def _owns_the_process(author: Author, key: ConversationKey) -> bool:
    return key.platform == LOCAL_PLATFORM or (key.platform == WEB_PLATFORM and author.id == WEB_OWNER)


def named(groups: GroupsConfig, event: Event) -> Event:
    """A message in a group that names the bot is addressed to it."""
    if not isinstance(event, Message) or event.direct or event.addressed or not names(groups.names, event.text):
        return event
    return replace(event, addressed=True)


def is_talk(event: Event) -> TypeGuard[Message]:
    """Whether people say something in a group that is not addressed to the bot, and could be meant for it all the same.

    What other bots say could not: they would answer each other for ever. Nor could a command that is another bot's.
    """
    if not isinstance(event, Message) or event.direct or event.addressed or event.author.is_bot:
        return False
    return _ANOTHERS.match(event.text) is None


def always(groups: GroupsConfig, event: Event, trigger: Trigger | None = None) -> Event:
    """Where everything is answered, all that people say is addressed to the bot. `trigger`: what the guild has chosen."""
    if not is_talk(event):
        return event
    everything = matches(groups.always, event.author, event.key) if trigger is None else trigger == "always"
    return replace(event, addressed=True) if everything else event


def in_thread(groups: GroupsConfig, event: Message) -> Message:
    """Where each question has a thread of its own, one that is asked beside the threads belongs to the one that it opens."""
    if event.direct or not (event.addressed and event.opens) or event.key.thread:
        return event
    if not matches(groups.threads, event.author, event.key):
        return event
    return replace(event, key=replace(event.key, thread=event.opens))


def names(wanted: tuple[str, ...], text: str) -> bool:
    """Whether one of these names is in a text, as whole words, in any case and any Unicode spelling.

    Where words are not written apart (Chinese, Japanese) a name counts wherever it stands.
    """
    if not wanted:
        return False
    said = _plain(text)
    return any(_has(said, _plain(name).strip()) for name in wanted)


def _has(said: str, name: str) -> bool:
    at = said.find(name)
    while at >= 0:
        end = at + len(name)
        if not (_joined(said[at - 1 : at], name[0]) or _joined(said[end : end + 1], name[-1])):
            return True
        at = said.find(name, at + 1)
    return False


def _joined(beside: str, edge: str) -> bool:
    """Whether the letter beside a name's first or last one makes them one word."""
    apart = not beside or not _of_a_word(beside) or not _of_a_word(edge)
    return not apart and unicodedata.east_asian_width(edge) not in {"W", "F"}


def _of_a_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_" or unicodedata.category(letter).startswith("M")


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def triage(config: PermissionsConfig, event: Event, *, paired: bool = False, remember_group_talk: bool) -> Triage:
    """What becomes of an event, before it is committed.

    An edit or a deletion changes what is stored already, whoever sends it; an edit of one who may not talk (any more)
    changes the text only.
    """
    if isinstance(event, Message | Action | Edited) and not may_talk(config, event.author, event.key, paired=paired):
        return Triage.CONTEXT if isinstance(event, Edited) else Triage.IGNORED
    if not isinstance(event, Message):
        return Triage.PENDING
    if event.direct or event.addressed:
        return Triage.PENDING
    return Triage.CONTEXT if remember_group_talk else Triage.IGNORED


class RateLimit:
    """Messages per minute of each person, counted by the time at which they were written."""

    def __init__(self) -> None:
        self._received: dict[tuple[str, str], deque[datetime]] = {}
        self._told: dict[tuple[str, str], datetime] = {}
        self._pruned: datetime | None = None

    def admit(self, platform: str, author: str, at: datetime, per_minute: int, *, aloud: bool = False) -> None:
        """Count a message that was written then. Raises NotAllowed beyond the limit: with words once a minute, else with empty ones.

        `aloud`: with words each time, for a platform waits for an answer.
        """
        self._prune(at)
        person = (platform, author)
        times = self._received.setdefault(person, deque())
        while times and at - times[0] >= MINUTE:
            times.popleft()
        if len(times) < per_minute:
            times.append(at)
            return
        told = self._told.get(person)
        if told is not None and at - told < MINUTE and not aloud:
            raise NotAllowed("", detail="over the limit of messages per minute; told already")
        self._told[person] = at
        many = f"{per_minute} message{'' if per_minute == 1 else 's'}"
        raise NotAllowed(f"That was more than {many} in a minute. Please wait a little and ask again.")

    def _prune(self, now: datetime) -> None:
        """Let go of those who wrote nothing in the last minute, once a minute."""
        if self._pruned is not None and now - self._pruned < MINUTE:
            return
        self._pruned = now
        for person in [p for p, times in self._received.items() if not times or now - times[-1] >= MINUTE]:
            del self._received[person]
            self._told.pop(person, None)
