"""Strangers: who is let in by the pairing code, and what the others are told. Little, whatever they send."""

from __future__ import annotations

import hmac
import re
import time
from collections import Counter, deque
from collections.abc import Callable

import structlog

from bot.config import Config, PermissionsConfig
from bot.messages import Action, Edited, Event, Message
from bot.permissions import LOCAL_PLATFORM, is_stranger, may_talk
from bot.ports import Store
from bot.ways_in import MAX_CODE, MIN_CODE, WEB_PLATFORM

log = structlog.get_logger(__name__)

WORDS_A_MINUTE = 20
"""So many words are said in passing to all strangers together: far below what any platform allows a bot."""
TRIES_AN_HOUR, TRIES_A_MINUTE = 5, 10
"""Of the code: of one person, and of all together. At the latter it takes 500 years to try one in a thousand of the codes of
eight letters and digits."""
MINUTE, HOUR = 60.0, 3600.0
WELCOME = "Welcome. From now on I answer you. /help says what I can do."
KNOWN = "I know you already."

_GUESS = re.compile(rf"(?:/start(?:@\w+)?\s+)?(\S{{{MIN_CODE},{MAX_CODE}}})")
"""A message that may be the code: alone, or as a deep link brings it."""

REFUSED = "You may not use me here."
"""To who uses a command of the platform's menu or a button: the platform shows a failure where nothing is said."""

Say = Callable[[Message | Action, str], None]
"""Answers a message or a press with a passing word; does not wait for it, and tells nobody if it cannot be said."""


class Strangers:
    """Stands at the door. `clock`: seconds, never goes back."""

    def __init__(self, store: Store, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._say = say
        self._words = Rarely(1, WORDS_A_MINUTE, clock)
        self._tries = Rarely(TRIES_AN_HOUR, TRIES_A_MINUTE, clock)

    async def paired(self, config: Config, event: Event) -> bool:
        """Whether it is the code that lets the author of an event in. Raises DatabaseError.

        Nobody is looked up whom the configuration knows, nor for talk that is not heard in any case.
        """
        if not isinstance(event, Message | Action | Edited):
            return False
        heard = not isinstance(event, Message) or event.direct or event.addressed or config.chat.remember_group_talk
        if not heard or not is_stranger(config.permissions, event.author, event.key):
            return False
        return await self._store.is_paired(event.key.platform, event.author.id)

    async def keep_out(self, config: Config, event: Message, *, paired: bool) -> bool:
        """Whether a message goes no further: what a stranger says, and the code, whoever says it. Raises DatabaseError.

        With the code a stranger is let in, and that is committed; else they are told the configured word, rarely.
        """
        permissions = config.permissions
        stranger = not paired and is_stranger(permissions, event.author, event.key)
        if await self._took_code(permissions, event, stranger=stranger, paired=paired):
            return True
        if stranger:
            self._turn_away(permissions, event)
        return stranger

    async def _took_code(self, permissions: PermissionsConfig, event: Message, *, stranger: bool, paired: bool) -> bool:
        code, guess = permissions.pairing_code.get_secret_value(), _GUESS.fullmatch(event.text.strip())
        person = (event.key.platform, event.author.id)
        if not code or guess is None or not event.direct or event.key.platform in {LOCAL_PLATFORM, WEB_PLATFORM}:
            return False
        if stranger:
            if not (self._tries.admit(*person) and _same(guess[1], code)):
                return False
            await self._store.pair(*person)
            log.info("let in by the pairing code", person=":".join(person))
            self._say(event, WELCOME)
            return True
        # Said again, or read back by the adapter after a pause: the code is no question, and not to be kept.
        known = may_talk(permissions, event.author, event.key, paired=paired) and _same(guess[1], code)
        if known and self._words.admit("known", *person):
            self._say(event, KNOWN)
        return known

    def refuse(self, config: Config, event: Event, *, paired: bool) -> None:
        """Answer an interaction of who may not talk (a message of a stranger's, see `keep_out`): it waits for a word."""
        if not isinstance(event, Message | Action) or event.interaction is None:
            return
        permissions = config.permissions
        if may_talk(permissions, event.author, event.key, paired=paired):
            return
        stranger = is_stranger(permissions, event.author, event.key)
        self._say(event, (stranger and _word(permissions, event)) or REFUSED)

    def _turn_away(self, permissions: PermissionsConfig, event: Message) -> None:
        """Once an hour to a person in a private chat, and once an hour in a group, to who addresses the bot.

        An interaction is answered each time. Who alone sees the word is told it whoever else was.
        """
        platform, chat, author = event.key.platform, event.key.chat, event.author.id
        word = _word(permissions, event)
        if event.interaction is not None:
            self._say(event, word or REFUSED)
            return
        alone = event.direct or event.can_reply_privately
        whom = ("person", platform, author) if alone else ("chat", platform, chat)
        if (event.direct or event.addressed) and word and self._words.admit(*whom):
            self._say(event, word)


def _word(permissions: PermissionsConfig, event: Message | Action) -> str:
    """What a stranger is told; empty: nothing."""
    direct = event.direct if isinstance(event, Message) else not event.author.guild
    word = permissions.stranger_word if direct else permissions.stranger_word_in_groups
    platform, chat = event.key.platform, event.key.chat
    return word.replace("{id}", f"{platform}:{event.author.id}").replace("{chat}", f"{platform}:chat/{chat}")


class Rarely:
    """Says yes so often an hour for each, and so often a minute for all together: what it remembers is bounded by that."""

    def __init__(self, each: int, together: int, clock: Callable[[], float]) -> None:
        self._each = each
        self._together = together
        self._clock = clock
        self._hour: deque[tuple[float, tuple[str, ...]]] = deque()
        self._minute: deque[float] = deque()
        self._counts: Counter[tuple[str, ...]] = Counter()

    def admit(self, *who: str) -> bool:
        """Whether it may be once more, now. A refusal counts for nothing."""
        now = self._clock()
        self._forget(now)
        if len(self._minute) >= self._together or self._counts.get(who, 0) >= self._each:
            return False
        self._minute.append(now)
        self._hour.append((now, who))
        self._counts[who] += 1
        return True

    def _forget(self, now: float) -> None:
        while self._minute and now - self._minute[0] >= MINUTE:
            self._minute.popleft()
        while self._hour and now - self._hour[0][0] >= HOUR:
            _, who = self._hour.popleft()
            self._counts[who] -= 1
            if not self._counts[who]:
                del self._counts[who]


def _same(guess: str, code: str) -> bool:
    """Compared in a time that tells nothing about where they differ."""
    return hmac.compare_digest(guess.encode("utf-8", "surrogatepass"), code.encode("utf-8", "surrogatepass"))
