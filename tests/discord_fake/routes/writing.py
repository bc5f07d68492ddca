"""What the bot writes and edits, and the making of its messages for all ways to send one."""

from __future__ import annotations

from collections.abc import Mapping

from tests.discord_fake import components, content
from tests.discord_fake.content import Draft, Upload
from tests.discord_fake.errors import Json, Refused, invalid, misuse, not_implemented, refused, stale
from tests.discord_fake.people import Channel
from tests.discord_fake.permissions import Permission
from tests.discord_fake.platform import Handler, Platform, Request
from tests.discord_fake.records import COMPONENTS_V2, LOADING, SUPPRESS_EMBEDS, Message

_REPLY = 19
_NONCE_LIFE = 5 * 60.0
"""Seconds for which a nonce is remembered: "the past few minutes", in the words of the documentation."""


def fields_of(
    platform: Platform, channel: Channel, draft: Draft, *, replied: Message | None = None, old: Message | None = None
) -> Json:
    """What a message is made of. `old`: the message that is edited, of which the rest stays as it is."""
    scene, body = platform.scene, draft.body
    content.check_allowed_mentions(body.get("allowed_mentions"))
    found: Json = {}
    kept = old.attachments if old is not None else []
    if draft.uploads or "attachments" in body:
        found["attachments"] = content.attachments(scene, channel.id, draft, kept)
    if "content" in body:
        text = (body["content"] or "").strip()
        everyone = Permission.MENTION_EVERYONE in channel.may(scene.bot.id)
        author = scene.users[replied.author_id] if replied is not None else None
        rules = body.get("allowed_mentions")
        found |= {"content": text} | content.mentions(
            scene, channel.guild, text, replied=author, allowed=rules, everyone=everyone
        )
    elif replied is not None:
        author = scene.users[replied.author_id]
        rules = body.get("allowed_mentions")
        found |= content.mentions(scene, channel.guild, "", replied=author, allowed=rules, everyone=False)
    if "embeds" in body:
        found["embeds"] = content.embeds(body["embeds"] or [])
    if "components" in body:
        files = {item["filename"]: item for item in found.get("attachments", kept)}
        found["components"] = components.shown(body["components"] or [], files)
    return found | {"flags": draft.flags}


def must_let_bot_send(channel: Channel, draft: Draft) -> None:
    """Raise Refused unless the bot may send what this message consists of."""
    needed = [Permission.ATTACH_FILES] if draft.uploads else []
    needed += [Permission.EMBED_LINKS] if draft.body.get("embeds") else []
    needed += [Permission.SEND_VOICE_MESSAGES] if draft.flags & 1 << 13 else []
    channel.must_let_bot(*needed)


async def _create(platform: Platform, request: Request) -> Json:
    channel, body = platform.channel(request), request.body
    channel.must_let_bot_write()
    draft = content.draft(body, request.uploads)
    must_let_bot_send(channel, draft)
    nonce = None if body.get("nonce") is None else str(body["nonce"])
    first = channel.nonces.get(nonce) if nonce is not None and body.get("enforce_nonce") else None
    if first is not None and platform.scene.now() - first.versions[0][0] < _NONCE_LIFE:
        # The same message once more is answered with the first one, and nothing is sent.
        return platform.shown(channel, first)
    replied = _replied(channel, body.get("message_reference"))
    fields = fields_of(platform, channel, draft, replied=replied)
    if replied is not None:
        fields |= {"type": _REPLY, "message_reference": channel.reference(replied)}
    message = write(channel, platform, fields, nonce=nonce)
    if nonce is not None:
        channel.nonces[nonce] = message
    return platform.shown(channel, message) | ({"nonce": nonce} if nonce is not None else {})


def write(
    channel: Channel, platform: Platform, fields: Json, *, ephemeral: bool = False, nonce: str | None = None
) -> Message:
    """A message of the bot."""
    return channel.write(platform.world.bot, fields, by_bot=True, ephemeral=ephemeral, nonce=nonce)


def _replied(channel: Channel, reference: Json | None) -> Message | None:
    """The message that is replied to. Raises Refused."""
    if reference is None:
        return None
    if reference.get("type"):
        raise not_implemented("forwarding by the bot")
    if reference.get("channel_id") is not None and int(reference["channel_id"]) != channel.id:
        words = "Cannot reply to a message in a different channel"
        raise invalid("message_reference", "REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", words)
    try:
        found = channel.find(int(reference["message_id"]))
    except Refused:
        found = None
    if found is None or found.ephemeral:
        if reference.get("fail_if_not_exists") is False:
            return None
        raise stale("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
    if channel.guild is not None:
        if Permission.READ_MESSAGE_HISTORY not in channel.may(channel.scene.bot.id):
            raise refused(160002)
        if found.json["type"] not in {0, _REPLY, 20, 23}:
            words = "Cannot reply to a system message"
            raise invalid("message_reference", "REPLIES_CANNOT_REFERENCE_SYSTEM_MESSAGE", words)
    return found


async def _edit(platform: Platform, request: Request) -> Json:
    channel = platform.channel(request)
    message = channel.find(request.id("message_id"))
    if message.ephemeral:
        raise refused(10008)
    if not message.by_bot:
        # Somebody else's message: only its embeds can be hidden.
        if set(request.body) != {"flags"}:
            raise refused(50005)
        channel.must_let_bot(Permission.MANAGE_MESSAGES)
    channel.must_let_bot_change()
    edit(platform, channel, message, request.body, request.uploads)
    return platform.shown(channel, message)


def edit(platform: Platform, channel: Channel, message: Message, body: Json, uploads: Mapping[str, Upload]) -> None:
    """Change a message of the bot. Raises Refused."""
    flags = message.flags
    if body.get("flags") is not None:
        asked = int(body["flags"])
        if message.flags & COMPONENTS_V2 and not asked & COMPONENTS_V2:
            raise invalid("flags", "FLAGS_INVALID", "Components of version 2 can't be taken back.")
        if asked & ~(SUPPRESS_EMBEDS | COMPONENTS_V2 | message.flags):
            raise invalid("flags", "FLAGS_INVALID", f"Flags {asked} can't be set by an edit.")
        flags = message.flags & ~SUPPRESS_EMBEDS | asked
    draft = Draft(body, uploads, flags & ~LOADING)
    content.check(draft)
    if draft.version_2 and not message.flags & COMPONENTS_V2:
        left = [name for name in ("content", "embeds") if message.json[name] and name not in body]
        if left:
            words = f"The message has {left[0]}, which it must lose with this edit."
            raise invalid(left[0], "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", words)
    replied = next((m for m in channel.messages if m.id == message.reply_to), None)
    fields = fields_of(platform, channel, draft, replied=replied if "content" in body else None, old=message)
    after = message.json | fields
    if not any(after[name] for name in ("content", "embeds", "components", "attachments")):
        raise misuse(50006)
    channel.change(message, fields, edited=set(body) != {"flags"})


HANDLERS: dict[str, Handler] = {"create_message": _create, "update_message": _edit}
