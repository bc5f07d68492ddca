"""`hearth check discord`: token, intent, commands, servers and rights, as Discord tells them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from discord import VoiceClient

from adapters.discord.look import look
from adapters.look import Finding, Named
from bot.check import inspect
from bot.config import DiscordConfig
from tests.discord_fake import DiscordServer, Guild, Intent, Permission, serving
from tests.discord_fake.client import pointed_at
from tests.discord_fake.permissions import EVERYTHING, NOTHING
from tests.discord_house import discord_config

RIGHTS = (
    Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.SEND_MESSAGES_IN_THREADS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
)


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with serving() as running:
        with pointed_at(running):
            yield running


def ferns(server: DiscordServer) -> Guild:
    """A guild in which nobody may anything but by a role."""
    guild = server.world.guild("Ferns", server.world.user("Ada"))
    guild.roles[guild.id].permissions = NOTHING
    return guild


def let_bot(guild: Guild, rights: Permission) -> None:
    """The bot's own role has these."""
    (own,) = [role for role in guild.roles.values() if role.managed_by is not None]
    own.permissions = rights


async def seen(server: DiscordServer, named: Named | None = None, **more: object) -> dict[str, Finding]:
    own = {"token": server.token, "api_base": server.api_base, **more}
    rows = await look(DiscordConfig.model_validate(own), named or Named())
    assert not server.ws.online, "nothing connects to the gateway"
    return {row.what: row for row in rows}


async def test_a_good_token(server: DiscordServer) -> None:
    rows = await seen(server)
    assert [(row.what, row.good) for row in rows.values()] == [
        ("Discord", True),
        ("Discord message content", True),
        ("Discord commands", True),
        ("Discord invitation", True),
        ("Discord servers", True),
    ]
    assert rows["Discord"].words == "the token is hearth's"
    assert rows["Discord servers"].words.startswith("the bot is in none yet")


async def test_a_token_that_is_refused_is_not_shown(server: DiscordServer) -> None:
    wrong = server.token[:-4] + "xxxx"
    rows = await seen(server, token=wrong)
    assert list(rows) == ["Discord"]
    assert not rows["Discord"].good
    assert "Reset Token" in rows["Discord"].words
    assert "xxxx" not in rows["Discord"].words


async def test_discord_does_not_answer(server: DiscordServer) -> None:
    base = "http://127.0.0.1:9/api/v10"
    (row,) = (await seen(server, api_base=base)).values()
    assert (row.good, row.words) == (False, f"{base} does not answer (ClientConnectorError)")
    server.fail("*", "503")
    (row,) = (await seen(server)).values()
    assert row.words == f"{server.api_base} does not answer (status 503)"
    own = {"token": server.token, "api_base": server.api_base}
    server.fail("*", "500", times=10)  # the library would try for 25 s
    (row,) = await look(DiscordConfig.model_validate(own), Named(), seconds=0.1)
    assert (row.good, row.words) == (False, f"{server.api_base} does not answer (TimeoutError)")


async def test_what_fails_later_is_told_in_its_row(server: DiscordServer) -> None:
    guild = ferns(server)
    server.fail("get_guild", "refuse", status=400, code=40333, message="internal network error")
    server.fail("list_my_guilds", "cloudflare")
    rows = await seen(server, Named(guilds=(str(guild.id),)))
    assert rows["Discord servers"] == Finding("Discord servers", False, "cannot be looked at (wait 600.0 s)")
    assert rows[f"Discord server {guild.id}"].words == "cannot be looked at (internal network error (40333))"


async def test_the_content_intent_is_explained_and_wrong_only_where_it_matters(server: DiscordServer) -> None:
    server.world.scene.privileged = Intent.GUILD_MEMBERS
    modest = (await seen(server))["Discord message content"]
    curious = (await seen(server, Named(hears_all=True)))["Discord message content"]
    assert (modest.good, curious.good) == (True, False)
    for row in (modest, curious):
        assert "https://discord.com/developers/applications" in row.words
        assert "Message Content Intent" in row.words
    assert "groups.names" in curious.words


async def test_the_invitation_has_exactly_the_rights_that_are_needed(server: DiscordServer) -> None:
    server.world.scene.portal = {"id": "77"}
    row = (await seen(server))["Discord invitation"]
    link = urlsplit(row.link)
    assert (link.scheme, link.netloc, link.path) == ("https", "discord.com", "/oauth2/authorize")
    assert parse_qs(link.query) == {
        "client_id": ["77"],
        "permissions": [str(int(RIGHTS))],
        "scope": ["bot applications.commands"],
    }
    server.world.scene.portal = {"bot_public": False}
    private = (await seen(server))["Discord invitation"]
    assert private.good
    assert "owner alone" in private.words
    server.world.scene.portal = {"bot_require_code_grant": True}
    assert not (await seen(server))["Discord invitation"].good


async def test_commands_that_go_elsewhere(server: DiscordServer) -> None:
    server.world.scene.portal = {"interactions_endpoint_url": "https://hooks.example.org/s3cret"}
    row = (await seen(server))["Discord commands"]
    assert not row.good
    assert "hooks.example.org" in row.words
    assert "empty Interactions Endpoint URL" in row.words
    assert "s3cret" not in row.words


async def test_the_servers(server: DiscordServer) -> None:
    first, there, bare = ferns(server), ferns(server), ferns(server)
    away = server.world.guild("Mosses", server.world.user("Bob"), with_bot=False)
    let_bot(there, RIGHTS)
    rows = await seen(server, Named(guilds=(str(there.id), str(bare.id), str(away.id), "7", "ferns")))
    assert rows["Discord servers"].words == (
        f"the bot is in 3: Ferns ({first.id}), Ferns ({there.id}), Ferns ({bare.id})"
    )
    assert rows[f"Discord server {there.id}"] == Finding(f"Discord server {there.id}", True, "Ferns; the bot is in it")
    assert rows[f"Discord server {bare.id}"].words == (
        "Ferns; the bot is in it, and may not see the channel, write and read the history but where a channel allows it"
    )
    assert [rows[f"Discord server {number}"].good for number in (away.id, 7, "ferns")] == [False] * 3
    assert rows[f"Discord server {away.id}"].words.startswith("there is none with this id that the bot may see")


async def test_many_servers_are_not_all_listed(server: DiscordServer) -> None:
    for _ in range(12):
        ferns(server)
    words = (await seen(server))["Discord servers"].words
    assert words.startswith("the bot is in 12: Ferns (")
    assert words.endswith(", ...")
    assert words.count("Ferns") == 10


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        (NOTHING, "#general in Ferns; the bot may write and read the history"),
        (Permission.SEND_MESSAGES, "#general in Ferns; the bot may not write"),
        (Permission.READ_MESSAGE_HISTORY, "#general in Ferns; the bot may not read the history"),
        (
            Permission.SEND_MESSAGES | Permission.READ_MESSAGE_HISTORY,
            "#general in Ferns; the bot may not write and read the history",
        ),
        (Permission.VIEW_CHANNEL, "there is none with this id that the bot may see; is it in that server?"),
        (Permission.CREATE_PUBLIC_THREADS, "#general in Ferns; the bot may write and read the history"),
    ],
)
async def test_a_channel_s_own_rights_count(server: DiscordServer, lacks: Permission, words: str) -> None:
    guild = ferns(server)
    let_bot(guild, RIGHTS)
    channel = guild.text("general")
    channel.overwrite(guild.id, deny=lacks)
    row = (await seen(server, Named(chats=(str(channel.id),))))[f"Discord channel {channel.id}"]
    assert (row.words, row.good) == (words, "may write" in words)


async def test_a_channel_in_which_threads_are_to_begin(server: DiscordServer) -> None:
    guild = ferns(server)
    let_bot(guild, RIGHTS & ~Permission.CREATE_PUBLIC_THREADS)
    one, two = guild.text("one"), guild.text("two")
    named = Named(chats=(str(one.id), str(two.id)), threads=frozenset({str(two.id)}))
    rows = await seen(server, named)
    assert rows[f"Discord channel {one.id}"].good
    assert rows[f"Discord channel {two.id}"].words == "#two in Ferns; the bot may not open threads"
    let_bot(guild, EVERYTHING)
    assert (await seen(server, named))[f"Discord channel {two.id}"].good
    assert len(server.called("get_guild")) == 2, "a server is asked for once for all its channels"


async def test_channels_of_other_kinds(server: DiscordServer) -> None:
    guild = ferns(server)
    let_bot(guild, RIGHTS & ~Permission.SEND_MESSAGES)
    ada = server.world.user("Ada")
    guild.join(ada)
    guild.give(ada, guild.role("people", EVERYTHING))
    forum, room = guild.forum("ideas"), guild.text("general")
    thread, direct = room.thread(ada, "talk"), server.world.dm(ada)
    chats = (forum.id, thread.id, direct.id, 5, "general")
    rows = await seen(server, Named(chats=tuple(str(chat) for chat in chats)))
    told = [rows[f"Discord channel {chat}"] for chat in chats]
    assert [row.good for row in told] == [True, False, True, False, False]
    assert told[1].words.endswith(f"discord:chat/{room.id}")
    assert told[2].words == "a private chat"


async def test_check_asks_about_what_the_configuration_names(tmp_path: Path, server: DiscordServer) -> None:
    guild = ferns(server)
    let_bot(guild, RIGHTS)
    one, two = guild.text("one"), guild.text("two")
    entries = [f"discord:chat/{one.id}", f"discord:guild/{guild.id}", "telegram:chat/5", "discord:role/9"]
    permissions, groups = {"allow": entries, "deny": ["discord:chat/6"]}, {"threads": [f"discord:chat/{two.id}"]}
    config = discord_config(tmp_path, server, permissions=permissions, groups=groups)
    found = {row.what: row for row in await inspect(config) if row.what.startswith("Discord ")}
    assert list(found)[4:] == [f"Discord server {guild.id}", f"Discord channel {one.id}", f"Discord channel {two.id}"]
    assert all(row.good for row in found.values())
    server.world.scene.privileged = Intent(0)
    wants: tuple[dict[str, object], ...] = (
        {"groups": {"names": ["hearth"]}},
        {"groups": {"always": ["discord:*"]}},
        {"groups": {"threads": ["discord:*"]}},
        {"chat": {"remember_group_talk": True}},
    )
    for more in wants:
        curious = {row.what: row for row in await inspect(discord_config(tmp_path, server, **more))}
        assert not curious["Discord message content"].good
    elsewhere = discord_config(tmp_path, server, groups={"always": ["telegram:*"]})
    assert {row.what: row for row in await inspect(elsewhere)}["Discord message content"].good


async def test_the_library_warns_of_nothing(
    server: DiscordServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not of voice, which Hearth has no use for, nor of what the look tells in words of its own."""
    monkeypatch.setattr(VoiceClient, "warn_nacl", True)
    monkeypatch.setattr(VoiceClient, "warn_dave", True)
    library = logging.getLogger("discord")
    monkeypatch.setattr(library, "level", logging.INFO)
    server.world.scene.portal = {"interactions_endpoint_url": "https://hooks.example.org/x"}
    await seen(server)
    assert not VoiceClient.warn_nacl, "there was something to warn of"
    assert [record.getMessage() for record in caplog.records if record.name.startswith("discord")] == []
