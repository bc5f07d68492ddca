"""Discord where things come together that seldom do: several connections, a guild that is away, a client that dies with work left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import discord
import pytest
from discord.backoff import ExponentialBackoff

from adapters.discord import catching_up, client, connection, hearing, intake
from bot.testing import ScriptedEngine
from tests.discord_fake import Channel, DiscordServer, Guild, Permission, User, serving
from tests.discord_fake.sessions import Session
from tests.discord_house import DiscordHouse, discord_house
from tests.integration.test_discord_gateway import echo


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for Discord to be well again, nor five seconds before each IDENTIFY."""

    async def at_once(client: discord.Client, shard_id: int | None, *, initial: bool = False) -> None:
        pass

    monkeypatch.setattr(connection, "REST_LEAST", 0.01)
    monkeypatch.setattr(catching_up, "REST_SECONDS", 0.01)
    monkeypatch.setattr(intake, "REST_SECONDS", 0.01)
    monkeypatch.setattr(discord.Client, "before_identify_hook", at_once)


@pytest.fixture
def ada(server: DiscordServer) -> User:
    return server.world.user("Ada")


@pytest.fixture
def guild(server: DiscordServer, ada: User) -> Guild:
    return server.world.guild("Friends", ada)


@pytest.fixture
def channel(guild: Guild) -> Channel:
    return guild.text("general")


def house(folder: Path, server: DiscordServer, **sections: Any) -> AbstractAsyncContextManager[DiscordHouse]:
    return discord_house(folder, server, engine=ScriptedEngine(echo), **sections)


async def said(h: DiscordHouse, channel: Channel, user: User, text: str) -> None:
    """Ask, and be answered with the same."""
    before = channel.texts_of_bot()
    channel.say(user, text, mention=h.server.world.bot)
    await h.answered(channel, *before, f"You said: {text}")


def of_shard(server: DiscordServer, number: int) -> Session:
    [found] = [session for session in server.ws.online if session.shard[0] == number]
    return found


def another(server: DiscordServer, guild: Guild, *members: User) -> Guild:
    """A guild of the other of two connections."""
    while True:
        made = server.world.guild("Elsewhere", *members)
        if (made.id ^ guild.id) >> 22 & 1:
            return made


# Several connections


async def test_one_of_several_connections_with_a_new_session_is_heard_again(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild, channel: Channel
) -> None:
    """The library is `ready` only when all of them begin anew."""
    async with house(tmp_path, server, discord={"shard_count": 2}) as h:
        await said(h, channel, ada, "hello")
        mine = of_shard(server, (guild.id >> 22) % 2)
        mine.alive = False
        assert mine.wire is not None
        mine.wire.push({"op": 9, "d": False})
        await server.wait_for(lambda: mine.wire is None, "the end of the session")
        channel.say(ada, "one", mention=server.world.bot)
        await h.answered(channel, "You said: hello", "You said: one")
        await said(h, channel, ada, "two")


async def test_what_one_connection_misses_is_read_though_the_other_goes_on(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild, channel: Channel
) -> None:
    """What the other hears meanwhile does not count as heard by both, however long it takes."""
    other = another(server, guild, ada).text("general")
    async with house(tmp_path, server, discord={"shard_count": 2}) as h:
        await said(h, channel, ada, "hello")
        mine = of_shard(server, (guild.id >> 22) % 2)
        server.ws.refuse()
        mine.alive = False
        assert mine.wire is not None
        mine.wire.abort()  # type: ignore[attr-defined]
        await server.wait_for(lambda: mine.wire is None, "the end of the session")
        channel.say(ada, "one", mention=server.world.bot)
        await server.wait_for(lambda: h.adapter._hearing._sessions._broken, "the bot to see it")
        server.world.scene.pass_(3600)
        await said(h, other, ada, "elsewhere")
        server.ws.accept()
        await h.answered(channel, "You said: hello", "You said: one")


# A guild of which Discord cannot tell


async def test_a_guild_that_comes_late_is_read_when_it_does(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild, channel: Channel
) -> None:
    """Its questions were asked before this process began, and by then others were heard for an hour; also by the process after."""
    other = server.world.guild("Elsewhere", ada).text("general")
    async with house(tmp_path, server) as h:
        await said(h, channel, ada, "hello")
    guild.outage()
    channel.say(ada, "one", mention=server.world.bot)
    async with house(tmp_path, server) as h:
        server.world.scene.pass_(3600)
        await said(h, other, ada, "elsewhere")
    async with house(tmp_path, server) as h:
        await said(h, other, ada, "once more")
        guild.recover()
        channel.say(ada, "two", mention=server.world.bot)
        await h.answered(channel, "You said: hello", "You said: one", "You said: two")
    async with house(tmp_path, server) as h:
        noted = await h.app.store.notes("discord", h.adapter.account)
        assert not any(name.startswith("late/") for name in noted)


async def test_a_guild_that_was_away_is_read_when_it_is_back(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild, channel: Channel
) -> None:
    async with house(tmp_path, server) as h:
        await said(h, channel, ada, "hello")
        guild.outage()
        channel.say(ada, "one", mention=server.world.bot)
        guild.recover()
        channel.say(ada, "two", mention=server.world.bot)
        await h.answered(channel, "You said: hello", "You said: one", "You said: two")


# Much that was missed


async def test_more_can_be_missed_than_may_wait(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel is read when there is room for what is found in it."""
    others = [guild.text(f"channel {number}") for number in range(8)]
    async with house(tmp_path, server) as h:
        await said(h, channel, ada, "hello")
    for other in others:
        for number in range(30):
            other.say(ada, f"talk {number}")
    channel.say(ada, "one", mention=server.world.bot)
    monkeypatch.setattr(intake, "MOST_WAITING", 150)
    server.fail("get_guild_member", "hang", seconds=0.2, times=100)
    async with house(tmp_path, server) as h:
        await h.answered(channel, "You said: hello", "You said: one")
    assert len(server.ws.identified) == 2


async def test_a_client_that_dies_leaves_what_it_has_read_to_the_next(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """Of who wrote it the roles are asked for by whoever can."""
    async with house(tmp_path, server) as h:
        await said(h, channel, ada, "hello")
    channel.say(ada, "one", mention=server.world.bot)
    stuck = server.fail("get_guild_member", "503", times=2)
    async with house(tmp_path, server, caught_up=False) as h:
        await server.wait_for(lambda: stuck.happened, "the question about its author")
        server.ws.unparsable()
        await h.answered(channel, "You said: hello", "You said: one")


async def test_a_command_does_not_wait_long_for_what_was_said_before_it(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever used it waits three seconds."""
    monkeypatch.setattr(hearing, "TURN_SECONDS", 0.05)
    async with house(tmp_path, server) as h:
        await said(h, channel, ada, "hello")
    channel.say(ada, "one", mention=server.world.bot)
    stuck = server.fail("get_guild_member", "hang", seconds=3600)
    async with house(tmp_path, server, caught_up=False):
        await server.wait_for(lambda: stuck.happened, "the question about its author")
        asked = channel.command(ada, "help")
        await server.wait_for(lambda: asked.answered, "the answer")
        assert not asked.failed()


# Rights


async def test_a_command_is_answered_to_its_end_where_the_bot_sees_nothing(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild
) -> None:
    """Commands can be used everywhere; what it says there can be changed by the interaction's token alone."""
    hidden = guild.text("hidden")
    async with house(tmp_path, server) as h:
        hidden.overwrite(server.world.bot, deny=Permission.VIEW_CHANNEL)
        server.ws.online[0].dispatch("CHANNEL_UPDATE", hidden.json | {"guild_id": str(guild.id)})
        h.engine.stall_after = 5
        asked = hidden.command(ada, "ask", text="hello there")
        await server.wait_for(lambda: asked.texts == ["You s"], "the beginning")
        h.engine.resume.set()
        await h.told(asked, "You said: hello there")


async def test_settings_are_changed_by_the_press_where_nothing_else_can(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild
) -> None:
    """However long it takes Discord to hear that the press was taken; what was noted when the page was made is over by then."""
    hidden = guild.text("hidden")
    async with house(tmp_path, server) as h:
        hidden.overwrite(server.world.bot, deny=Permission.VIEW_CHANNEL)
        server.ws.online[0].dispatch("CHANNEL_UPDATE", hidden.json | {"guild_id": str(guild.id)})
        shown = hidden.command(ada, "settings")
        await server.wait_for(lambda: shown.messages, "the page")
        await h.settled()
        [page] = shown.messages
        server.world.scene.pass_(1000)
        server.fail("create_interaction_response", "hang", seconds=0.3)
        [keep] = [menu for menu in page.selects if any("keep:" in option["value"] for option in menu["options"])]
        hidden.select(ada, page, keep["custom_id"], "choose:keep:7")
        await server.wait_for(lambda: "kept for 7 days" in "".join(page.texts), "the new page")


async def test_where_there_are_too_many_threads_it_answers_in_the_channel(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """A server has a thousand at most that are not archived."""
    server.fail(
        "create_thread_from_message", "refuse", times=3, code=160006, message="Maximum number of threads reached"
    )
    async with house(tmp_path, server, groups={"threads": ["discord:*"]}) as h:
        await said(h, channel, ada, "hello")


# Supervision


async def test_a_client_that_cannot_come_back_is_given_up(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself the library would wait for minutes between its tries, at the address of its last session."""
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(connection, "AWAY_SECONDS", 0.2)
    monkeypatch.setattr(ExponentialBackoff, "delay", lambda self: 3600.0)
    async with house(tmp_path, server) as h:
        await said(h, channel, ada, "hello")
        server.ws.outage()
        await server.wait_for(lambda: server.ws.attempts > 2, "another client")
        channel.say(ada, "one", mention=server.world.bot)
        server.ws.accept()
        await h.answered(channel, "You said: hello", "You said: one")


async def test_the_last_sessions_of_a_day_are_not_used_up(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """Discord takes the token of a bot away that begins too many."""
    async with house(tmp_path, server) as h:
        await said(h, channel, ada, "hello")
        server.ws.handshake.starts_left = client.STARTS_KEPT - 1
        begun = len(server.ws.identified)
        asked = len(server.called("get_bot_gateway"))
        server.ws.unparsable()
        await server.wait_for(lambda: len(server.called("get_bot_gateway")) > asked + 2, "some looks at the limit")
        assert len(server.ws.identified) == begun
        server.ws.handshake.starts_left = 1000
        channel.say(ada, "one", mention=server.world.bot)
        await h.answered(channel, "You said: hello", "You said: one")
