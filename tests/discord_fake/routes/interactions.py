"""How the bot answers presses and commands: at once, and later by the interaction's webhook.

https://docs.discord.com/developers/interactions/receiving-and-responding
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from tests.discord_fake import content
from tests.discord_fake.content import Upload
from tests.discord_fake.errors import Json, invalid, not_implemented, refused
from tests.discord_fake.invocations import AUTOCOMPLETE, COMMAND, COMPONENT, USER_FOLLOWUPS, Interaction
from tests.discord_fake.people import Channel
from tests.discord_fake.platform import Handler, Platform, Request
from tests.discord_fake.records import EPHEMERAL, LOADING, Message
from tests.discord_fake.routes.writing import edit, fields_of, write

_MESSAGE, _DEFERRED, _DEFERRED_UPDATE, _UPDATE, _SUGGESTIONS = 4, 5, 6, 7, 8
_ALLOWED = {
    COMMAND: frozenset({_MESSAGE, _DEFERRED}),
    COMPONENT: frozenset({_MESSAGE, _DEFERRED, _DEFERRED_UPDATE, _UPDATE}),
    AUTOCOMPLETE: frozenset({_SUGGESTIONS}),
}
"""How each type of interaction can be answered."""
_SLASH_ANSWER, _MENU_ANSWER = 20, 23
"""Types of the message that a command's first answer makes."""


def _channel(interaction: Interaction) -> Channel:
    assert isinstance(interaction.channel, Channel)
    return interaction.channel


async def _callback(platform: Platform, request: Request) -> Json | None:
    """The first answer, within three seconds."""
    interaction = platform.scene.interactions.get(request.id("interaction_id"))
    if interaction is None or interaction.token != request.path["interaction_token"] or interaction.failed():
        raise refused(10062)
    if interaction.answered:
        raise refused(40060)
    kind, data = request.body["type"], request.body.get("data") or {}
    if kind not in {_MESSAGE, _DEFERRED, _DEFERRED_UPDATE, _UPDATE, _SUGGESTIONS}:
        raise not_implemented(f"an interaction's answer of type {kind}")
    if kind not in _ALLOWED[interaction.type]:
        raise invalid("type", "INTERACTION_CALLBACK_TYPE_INVALID", f"Type {interaction.type} can't be answered so.")
    if kind in {_MESSAGE, _DEFERRED}:
        interaction.original = _first_message(platform, interaction, kind, data, request.uploads)
    elif kind in {_DEFERRED_UPDATE, _UPDATE}:
        assert interaction.message is not None
        if kind == _UPDATE:
            edit(platform, _channel(interaction), interaction.message, data, request.uploads)
        interaction.original = interaction.message
    interaction.callback, interaction.answered_at = request.body, time.monotonic()
    return _answer(platform, interaction, kind) if request.query.get("with_response") else None


def _first_message(
    platform: Platform, interaction: Interaction, kind: int, data: Json, uploads: Mapping[str, Upload]
) -> Message:
    fields = _hanging(platform, interaction)
    if interaction.type == COMMAND:
        fields["type"] = _SLASH_ANSWER if interaction.data["type"] == 1 else _MENU_ANSWER
    ephemeral = bool((data.get("flags") or 0) & EPHEMERAL)
    channel = _channel(interaction)
    if kind == _DEFERRED:
        if data.get("content") or (data.get("flags") or 0) & ~EPHEMERAL:
            raise invalid("data", "INTERACTION_CALLBACK_DATA_INVALID", "A deferred answer has nothing but EPHEMERAL.")
        fields["flags"] = LOADING | (EPHEMERAL if ephemeral else 0)
    else:
        draft = content.draft(data, uploads, interaction=True)
        fields |= fields_of(platform, channel, draft)
    return write(channel, platform, fields, ephemeral=ephemeral)


def _hanging(platform: Platform, interaction: Interaction) -> Json:
    """The fields of every message that answers an interaction."""
    own = str(platform.scene.application_id)
    return {"webhook_id": own, "application_id": own, "interaction_metadata": interaction.metadata}


def _answer(platform: Platform, interaction: Interaction, kind: int) -> Json:
    """An InteractionCallbackResponse."""
    told: Json = {"id": str(interaction.id), "type": interaction.type}
    found: Json = {"interaction": told}
    original = interaction.original
    if original is None:
        return found
    told |= {"response_message_id": str(original.id), "response_message_loading": original.loading}
    told |= {"response_message_ephemeral": original.ephemeral, "channel_id": original.json["channel_id"]}
    if kind in {_MESSAGE, _UPDATE}:
        found["resource"] = {"type": kind, "message": _channel(interaction).shown(original)}
    return found


def _by_token(platform: Platform, request: Request) -> Interaction:
    """The interaction whose token is in the path. Raises Refused."""
    if request.id("webhook_id") != platform.scene.application_id:
        raise refused(10015)
    for interaction in platform.scene.interactions.values():
        if interaction.token == request.path["webhook_token"]:
            if not interaction.usable():
                raise refused(50027)
            if not interaction.answered:
                raise refused(10015)
            return interaction
    raise refused(10015)


async def _follow(platform: Platform, request: Request) -> Json | None:
    """One more message; the first one after a deferred answer takes that one's place."""
    interaction = _by_token(platform, request)
    channel = _channel(interaction)
    draft = content.draft(request.body, request.uploads, interaction=True)
    original = interaction.original
    if interaction.thinking and original is not None:
        body = {name: value for name, value in request.body.items() if name != "flags"}
        edit(platform, channel, original, body, request.uploads)
        return channel.shown(original)
    of_user_alone = "0" not in interaction.owners and not interaction.in_guild_of_bot
    if of_user_alone and len(interaction.followups) >= USER_FOLLOWUPS:
        raise refused(40094)
    ephemeral = bool(draft.flags & EPHEMERAL)
    fields = _hanging(platform, interaction) | fields_of(platform, channel, draft)
    if original is not None:
        fields["interaction_metadata"] |= {"original_response_message_id": str(original.id)}
    message = write(channel, platform, fields, ephemeral=ephemeral)
    interaction.followups.append(message)
    # Without ?wait=true a webhook is answered with 204; an interaction's is answered with the message all the same.
    return channel.shown(message)


def _target(interaction: Interaction, request: Request) -> Message:
    """The message in the path: @original, or one by its id. Raises Refused."""
    number = request.path.get("message_id")
    if number is None:
        if interaction.original is None or interaction.original.deleted:
            raise refused(10008)
        return interaction.original
    own = [*interaction.followups, *([interaction.original] if interaction.original else [])]
    for message in own:
        if str(message.id) == number and not message.deleted:
            return message
    raise refused(10008)


async def _get(platform: Platform, request: Request) -> Json:
    interaction = _by_token(platform, request)
    return _channel(interaction).shown(_target(interaction, request))


async def _edit(platform: Platform, request: Request) -> Json:
    interaction = _by_token(platform, request)
    message, channel = _target(interaction, request), _channel(interaction)
    edit(platform, channel, message, request.body, request.uploads)
    return channel.shown(message)


async def _delete(platform: Platform, request: Request) -> None:
    interaction = _by_token(platform, request)
    _channel(interaction).remove([_target(interaction, request)])


HANDLERS: dict[str, Handler] = {
    "create_interaction_response": _callback,
    "execute_webhook": _follow,
    "get_original_webhook_message": _get,
    "get_webhook_message": _get,
    "update_original_webhook_message": _edit,
    "update_webhook_message": _edit,
    "delete_original_webhook_message": _delete,
    "delete_webhook_message": _delete,
}
