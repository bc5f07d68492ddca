"""Commands, presses and choices -> Hearth's events. What is of no concern is None."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import discord

from adapters.discord.files import attachments
from adapters.discord.menus import ARGUMENT, typed
from adapters.discord.places import PLATFORM, Place
from adapters.talk import brings_files, pressed
from bot.messages import Action, Attachment, Author, Command, ConversationKey, Message


def place_of(interaction: discord.Interaction, account: str) -> Place:
    """Where it happens; the bot need not be there."""
    channel: Any = interaction.channel
    chat, thread = str(interaction.channel_id), ""
    if isinstance(channel, discord.Thread):
        chat, thread = str(channel.parent_id), chat
    guild = "" if interaction.guild_id is None else str(interaction.guild_id)
    direct = not guild and interaction.context.dm_channel
    return Place(ConversationKey(PLATFORM, account, chat, thread), guild, direct=direct)


def command_of(
    interaction: discord.Interaction, place: Place, commands: Sequence[Command], *, client: discord.Client
) -> Message:
    """A slash command, or one from a message's menu: as if it had been typed, in reply to that message."""
    data: Any = interaction.data
    argument = next((option["value"] for option in data.get("options", ()) if option["name"] == ARGUMENT), "")
    target = data.get("target_id")
    text = typed(commands, data["name"], argument)
    bringing = [command.name for command in commands if command.brings_files]
    brought = target is not None and brings_files(text, bringing)
    return Message(
        key=place.key,
        event_id=str(interaction.id),
        author=_author(interaction, place),
        text=text,
        sent_at=interaction.created_at,
        direct=place.direct,
        addressed=True,
        reply_to=target,
        attachments=_attached(interaction, data, target, client) if brought else (),
        interaction=interaction.token,
        can_reply_privately=True,
    )


def action_of(interaction: discord.Interaction, place: Place) -> Action | None:
    """A press of a button, or a choice: there the option says what is asked for."""
    data: Any = interaction.data
    asked = pressed(next(iter(data.get("values", ())), data["custom_id"]))
    if asked is None or interaction.message is None:
        return None
    return Action(
        key=place.key,
        event_id=f"press-{interaction.id}",
        author=_author(interaction, place),
        name=asked[0],
        sent_at=interaction.created_at,
        target=str(interaction.message.id),
        choice=asked[1],
        interaction=interaction.token,
        can_reply_privately=True,
    )


def _author(interaction: discord.Interaction, place: Place) -> Author:
    who = interaction.user
    rights = interaction.permissions
    return Author(
        str(who.id),
        who.display_name,
        is_bot=who.bot,
        roles=frozenset(str(role) for role in getattr(who, "_roles", ())),
        guild=place.guild,
        manages=bool(place.guild) and (rights.manage_guild or rights.administrator),
    )


def _attached(
    interaction: discord.Interaction, data: Any, target: str, client: discord.Client
) -> tuple[Attachment, ...]:
    """The files of the message that a menu is about, which Discord sends along."""
    raw = data.get("resolved", {}).get("messages", {}).get(target)
    if raw is None:
        return ()
    channel: Any = interaction.channel
    return attachments(discord.Message(state=client._connection, channel=channel, data=raw))
