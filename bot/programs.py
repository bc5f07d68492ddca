"""What the API for programs is told of the rest: its face sees ports and these values."""

from __future__ import annotations

from collections.abc import Callable

from adapters.web.openai.programs import Programs
from bot.api import ApiStore, Caller, person_caller
from bot.api_door import Allowance, KeyDoor
from bot.completions import ModelCompletions
from bot.config import Config
from bot.engines.registry import Registry
from bot.errors import NotAllowed
from bot.messages import Author, ConversationKey
from bot.permissions import is_admin, may_talk, messages_per_minute, tokens_per_day
from bot.ports import SpeechToText
from bot.speech.decode import AudioLimits, Decoder
from bot.speech.names import names
from bot.ways_in import WEB_PLATFORM, PermissionsConfig


def programs(
    config: Callable[[], Config], store: ApiStore, registry: Registry, speech: SpeechToText | None, *, account: str
) -> Programs:
    """The API's ports over the parts of a process. `account`: the page's."""
    heard = config().speech
    return Programs(
        config=config,
        completions=ModelCompletions(registry, config, store.count_api_use),
        store=store,
        door=KeyDoor(store),
        person=lambda person: _person(config().permissions, person, account),
        limits=Allowance(store),
        used=store.count_api_use,
        speech=speech,
        speech_names=names(heard),
        decode=Decoder(AudioLimits(heard.max_duration, heard.max_bytes)),
    )


def _person(permissions: PermissionsConfig, person: str, account: str) -> Caller:
    """Who has a token of the page, with the limits of the permissions. Raises NotAllowed."""
    author, key = Author(person, person), ConversationKey(WEB_PLATFORM, account, person)
    if not may_talk(permissions, author, key):
        raise NotAllowed
    owner = is_admin(permissions, author, key)
    return Caller(
        id=person_caller(WEB_PLATFORM, person) or person,
        name=person,
        requests_per_minute=0 if owner else messages_per_minute(permissions, author, key),
        tokens_per_day=0 if owner else tokens_per_day(permissions, author, key),
    )
