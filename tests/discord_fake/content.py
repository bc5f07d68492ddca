"""What makes a message: its text, whom it mentions, embeds, components and files, and the rules for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.discord_fake import components
from tests.discord_fake.errors import Json, invalid, misuse, refused
from tests.discord_fake.places import GuildState
from tests.discord_fake.records import COMPONENTS_V2, EPHEMERAL, SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS, VOICE
from tests.discord_fake.scene import Scene, User

LONGEST = 2000
"""Characters of a message's text. The specification's 4000 are for people who pay. Of what is left the platform strips the
spaces and line breaks at both ends, the indentation of a first line too."""
EMBED_TEXT = 6000
"""Characters of all embeds of a message together."""
UPLOAD_LIMIT = 10 * 2**20
_SETTABLE = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | VOICE | COMPONENTS_V2
_USER = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")
_EVERYONE = re.compile(r"@(everyone|here)\b")
_LEGACY = ("content", "embeds", "poll", "sticker_ids")


@dataclass(frozen=True)
class Upload:
    """A file that came with a request."""

    name: str
    content: bytes
    media_type: str


@dataclass(frozen=True)
class Draft:
    """A message that somebody wants to write, in the terms of a request's body."""

    body: Json
    uploads: Mapping[str, Upload]
    flags: int
    """Those that the request may set."""

    @property
    def version_2(self) -> bool:
        """Whether it is made of components of version 2."""
        return bool(self.flags & COMPONENTS_V2)

    @property
    def empty(self) -> bool:
        """Whether nothing would be seen of it."""
        kinds = ("embeds", "components", "poll", "sticker_ids")
        text = (self.body.get("content") or "").strip()
        return not text and not any(self.body.get(name) for name in kinds) and not self.uploads


def draft(body: Json, uploads: Mapping[str, Upload], *, interaction: bool = False) -> Draft:
    """Look at what a new message consists of. Raises Misuse."""
    flags = int(body.get("flags") or 0)
    if flags & ~(_SETTABLE | (EPHEMERAL if interaction else 0)):
        raise invalid("flags", "FLAGS_INVALID", f"Flags {flags} can't be set on a new message.")
    found = Draft(body, uploads, flags)
    check(found)
    if found.empty:
        raise misuse(50006)
    if flags & VOICE:
        _check_voice(found)
    return found


def check(found: Draft) -> None:
    """Look at the parts of a message. Raises Misuse."""
    body = found.body
    if len(body.get("content") or "") > LONGEST:
        raise invalid("content", "BASE_TYPE_MAX_LENGTH", f"Must be {LONGEST} or fewer in length.")
    legacy = [name for name in _LEGACY if body.get(name)]
    if found.version_2 and legacy:
        words = "The 'content' field, embeds, polls and stickers cannot be used with MessageFlags.IS_COMPONENTS_V2"
        raise invalid(legacy[0], "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", words)
    for kind in ("poll", "sticker_ids", "shared_client_theme"):
        if body.get(kind):
            raise invalid(kind, "NOT_IMPLEMENTED", f"The fake has no {kind}.")
    components.check(body.get("components") or [], version_2=found.version_2)
    _check_embeds(body.get("embeds") or [])
    _check_files(found)


def _check_voice(found: Draft) -> None:
    """A voice message is one audio file with its waveform, and nothing else."""
    described = found.body.get("attachments") or []
    if len(described) != 1 or not described[0].get("waveform") or described[0].get("duration_secs") is None:
        raise invalid("attachments", "VOICE_MESSAGES_MUST_HAVE_METADATA", "waveform and duration_secs are required.")
    if any(found.body.get(name) for name in ("content", "embeds", "components")):
        raise invalid("content", "VOICE_MESSAGES_DO_NOT_SUPPORT_ADDITIONAL_CONTENT", "A voice message is sound only.")


def _check_embeds(embeds: list[Json]) -> None:
    total = 0
    for embed in embeds:
        fields = [text for field in embed.get("fields") or [] for text in (field["name"], field["value"])]
        parts = [embed.get("title"), embed.get("description"), (embed.get("footer") or {}).get("text")]
        parts += [(embed.get("author") or {}).get("name"), *fields]
        total += sum(len(part) for part in parts if part)
    if total > EMBED_TEXT:
        raise invalid("embeds", "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBED_TEXT}")


def _check_files(found: Draft) -> None:
    if sum(len(upload.content) for upload in found.uploads.values()) > UPLOAD_LIMIT:
        raise refused(40005)
    described = {str(item["id"]) for item in found.body.get("attachments") or []}
    for key in found.uploads:
        match = re.fullmatch(r"files\[(\d+)\]", key)
        if match is None or (found.body.get("attachments") is not None and match[1] not in described):
            raise invalid("attachments", "ATTACHMENT_NOT_FOUND", f"Nothing describes the file {key}.")


def attachments(scene: Scene, channel_id: int, found: Draft, kept: list[Json]) -> list[Json]:
    """The files of a message: new ones, and of those that it had the ones that the body names."""
    described = {str(item["id"]): item for item in found.body.get("attachments") or []}
    old = [item for item in kept if item["id"] in described] if "attachments" in found.body else kept
    unknown = set(described) - {item["id"] for item in kept} - {key[6:-1] for key in found.uploads}
    if unknown:
        raise invalid("attachments", "ATTACHMENT_NOT_FOUND", f"There is no file {sorted(unknown)[0]}.")
    new: list[Json] = []
    for key, upload in found.uploads.items():
        told = described.get(key[6:-1], {})
        stored = scene.store(channel_id, told.get("filename") or upload.name, upload.content, upload.media_type)
        extra = ("description", "duration_secs", "waveform", "title")
        stored.extra = {name: told[name] for name in extra if told.get(name) is not None}
        new.append(scene.attachment(stored))
    return old + new


def embeds(given: list[Json]) -> list[Json]:
    """Embeds as a message has them."""
    found = [_without_null(embed) | {"type": "rich"} for embed in given]
    for embed in found:
        for field in embed.get("fields", []):
            field.setdefault("inline", False)
    return found


def _without_null(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_null(item) for name, item in value.items() if item is not None}
    return value


def mentions(
    scene: Scene, guild: GuildState | None, text: str, *, replied: User | None, allowed: Json | None, everyone: bool
) -> Json:
    """The fields that say whom a message mentions. `allowed`: the request's allowed_mentions; `everyone`: may it."""
    rules = allowed or {}
    parse = (
        set(rules["parse"] or []) if "parse" in rules else {"users", "roles", "everyone"} if allowed is None else set()
    )
    users = {int(user) for user in _USER.findall(text)} & set(scene.users)
    roles = {int(role) for role in _ROLE.findall(text)} & set(guild.roles if guild else ())
    if "users" not in parse:
        users &= {int(user) for user in rules.get("users") or []}
    if "roles" not in parse:
        roles &= {int(role) for role in rules.get("roles") or []}
    if replied is not None and (allowed is None or rules.get("replied_user")):
        users.add(replied.id)
    return {
        "mentions": [scene.users[user].json for user in sorted(users)],
        "mention_roles": [str(role) for role in sorted(roles)],
        "mention_everyone": everyone and "everyone" in parse and bool(_EVERYONE.search(text)),
    }


def check_allowed_mentions(allowed: Json | None) -> None:
    """Raise Misuse for a kind that is both parsed and listed."""
    for kind in ("users", "roles"):
        if allowed and kind in (allowed.get("parse") or []) and allowed.get(kind):
            words = f"parse:[{kind!r}] and {kind}: [ids...] are mutually exclusive."
            raise invalid("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", words)
