"""Discord's gateway when it goes wrong: gone, cut off, forgetful, incomprehensible, refusing. Nothing is missed or doubled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.discord import catching_up, connection, intake, interactions
from adapters.discord.connection import CONTENT, REFUSED
from bot import testing
from bot.errors import StartError
from bot.testing import ScriptedEngine
from tests.discord_fake import Channel, DiscordServer, Guild, Intent, User, serving
from tests.discord_fake.faults import Kind
from tests.discord_house import DiscordHouse, discord_house


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for Discord to be well again; what the library waits by itself stays."""
    monkeypatch.setattr(connection, "REST_LEAST", 0.01)
    monkeypatch.setattr(connection, "REFUSED_SECONDS", 0.01)
    monkeypatch.setattr(catching_up, "REST_SECONDS", 0.01)
    monkeypatch.setattr(intake, "REST_SECONDS", 0.01)


@pytest.fixture
def ada(server: DiscordServer) -> User:
    return server.world.user("Ada")


@pytest.fixture
def guild(server: DiscordServer, ada: User) -> Guild:
    return server.world.guild("Friends", ada)


@pytest.fixture
def channel(guild: Guild) -> Channel:
    return guild.text("general")


def echo(prompt: str) -> str:
    """The last question, without its author's name."""
    return f"You said: {testing.echo(prompt).removeprefix('You said: ').removeprefix('Ada: ')}"


def house(folder: Path, server: DiscordServer, **sections: Any) -> AbstractAsyncContextManager[DiscordHouse]:
    return discord_house(folder, server, engine=ScriptedEngine(echo), **sections)


def ask(server: DiscordServer, channel: Channel, user: User, *texts: str) -> None:
    """Say these to the bot."""
    for text in texts:
        channel.say(user, text, mention=server.world.bot if channel.guild else ())


async def heard(h: DiscordHouse, channel: Channel, user: User, text: str = "hello") -> None:
    """Ask, and be answered: from now on the bot knows this place, and how far it has heard."""
    ask(h.server, channel, user, text)
    await h.answered(channel, f"You said: {text}")


async def ended(server: DiscordServer) -> None:
    """Return when the present session has no connection any more."""
    [session] = server.ws.online
    await server.wait_for(lambda: session.wire is None, "the end of the session")


def readings(server: DiscordServer) -> int:
    return len(server.called("list_messages"))


async def test_what_is_written_while_the_gateway_is_gone_is_answered_once_it_is_back(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild, channel: Channel
) -> None:
    """In every place, in order, with what is written after it; an edit is answered in place."""
    other, thread, chat = guild.text("other"), channel.thread(ada, "A thread"), server.world.dm(ada)
    async with house(tmp_path, server) as h:
        await heard(h, chat, ada)
        await heard(h, channel, ada)
        question = channel.messages[-2]
        assert question.content.endswith("hello")
        server.ws.outage()
        await server.wait_for(lambda: server.ws.attempts > 1, "an attempt to connect")
        channel.edit(question, f"{server.world.bot.mention} goodbye")
        ask(server, other, ada, "one", "two")
        ask(server, thread, ada, "three")
        chat.say(ada, "four")
        channel.say(ada, "nothing for the bot")
        server.ws.accept()
        await server.wait_for(lambda: len(server.ws.identified) == 2, "a new session")
        ask(server, other, ada, "five")
        await h.answered(other, "You said: one", "You said: two", "You said: five")
        await h.answered(thread, "You said: three")
        await h.answered(chat, "You said: hello", "You said: four")
        await h.answered(channel, "You said: goodbye")
    assert [call for call in server.calls if call.error] == []


async def test_a_broken_line_is_taken_up_where_it_broke(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """RESUME: the gateway itself tells what was missed, and nothing has to be read back."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
        read = readings(server)
        server.ws.drop()
        ask(server, channel, ada, "one", "two")
        await server.wait_for(lambda: server.ws.resumed, "RESUME")
        ask(server, channel, ada, "three")
        server.ws.repeat(3)
        await h.answered(channel, *(f"You said: {word}" for word in ("hello", "one", "two", "three")))
        assert readings(server) == read
    assert len(server.ws.identified) == 1


async def test_a_session_that_the_gateway_ends_is_followed_by_another(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """INVALID_SESSION: what was written in between is read back."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
        server.ws.invalidate()
        await ended(server)
        ask(server, channel, ada, "one", "two")
        await h.answered(channel, *(f"You said: {word}" for word in ("hello", "one", "two")))
    assert len(server.ws.identified) == 2


async def test_an_event_that_the_library_cannot_read_ends_a_client_and_not_the_bot(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """Another takes its place; what comes meanwhile is read back."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
        server.ws.unparsable()
        await ended(server)
        ask(server, channel, ada, "one", "two")
        await h.answered(channel, *(f"You said: {word}" for word in ("hello", "one", "two")))
        assert len(server.ws.identified) == 2


async def test_a_call_that_is_under_way_when_a_client_dies_is_not_made_again(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers a command has no nonce: cut off and said again, it would stand there twice."""
    monkeypatch.setattr(interactions, "DEFER_SECONDS", 0.01)
    async with house(tmp_path, server) as h:
        h.engine.stall_in_prefill = True
        asked = channel.command(ada, "ask", text="one")
        await server.wait_for(lambda: asked.thinking, "the sign that it takes longer")
        slow = server.fail("execute_webhook", "hang", seconds=3.0)
        h.engine.resume.set()
        await server.wait_for(lambda: slow.happened, "the answer")
        server.ws.unparsable()
        await server.wait_for(lambda: len(server.ws.identified) == 2, "another client")
        await h.answered(channel, "You said: one")
        assert channel.from_bot == asked.messages


@pytest.mark.parametrize("how", ["503", "drop"])
async def test_a_first_connection_that_is_refused_is_tried_again(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel, how: str
) -> None:
    server.ws.refuse(2, "503" if how == "503" else "drop")
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
    assert server.ws.attempts >= 3


async def test_without_the_right_to_read_it_hears_what_is_said_to_it(tmp_path: Path) -> None:
    """Mentions and private messages. The log says once how to switch it on."""
    async with serving(privileged=Intent(0)) as server:
        ada = server.world.user("Ada")
        channel = server.world.guild("Friends", ada).text("general")
        with capture_logs() as logs:
            async with house(tmp_path, server, groups={"always": ["discord:*"]}) as h:
                await heard(h, server.world.dm(ada), ada)
                channel.say(ada, "not for its ears")
                await heard(h, channel, ada)
        assert [line["event"] for line in logs].count(CONTENT) == 1


async def test_the_right_to_read_can_be_taken_while_it_is_connected(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """4014 ends a client; the next one asks for less."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
        server.world.scene.privileged = Intent(0)
        with capture_logs() as logs:
            server.ws.close(4014)
            await ended(server)
            ask(server, channel, ada, "one")
            await h.answered(channel, "You said: hello", "You said: one")
        assert CONTENT in [line["event"] for line in logs]
        assert not server.ws.identified[-1]["intents"] & Intent.MESSAGE_CONTENT


async def test_a_token_that_was_never_good_ends_the_start(tmp_path: Path, server: DiscordServer) -> None:
    token, server.token = server.token, "another"
    with pytest.raises(ExceptionGroup) as caught:
        async with house(tmp_path, server, discord={"token": token}):
            raise AssertionError("it runs")
    [error] = caught.value.exceptions
    assert isinstance(error, StartError)
    assert str(error) == REFUSED


async def test_a_token_that_is_refused_later_may_be_good_again(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """The log says so; what was written meanwhile is read back."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
        token, server.token = server.token, "another"
        with capture_logs() as logs:
            server.ws.close(4004)
            await server.wait_for(lambda: REFUSED in [line["event"] for line in logs], "the refusal")
        ask(server, channel, ada, "one")
        server.token = token
        await h.answered(channel, "You said: hello", "You said: one")
        assert token not in str(logs)


async def test_a_history_that_cannot_be_read_for_a_while_is_read_later(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """What comes since then waits behind what was missed."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
    ask(server, channel, ada, "one", "two")
    trouble = server.fail("list_messages", "503", times=catching_up.TRIES - 1)
    async with house(tmp_path, server, caught_up=False) as h:
        await server.wait_for(lambda: trouble.happened, "the first refusal")
        ask(server, channel, ada, "three")
        await h.answered(channel, *(f"You said: {word}" for word in ("hello", "one", "two", "three")))


async def test_a_history_that_cannot_be_read_at_all_is_read_at_the_next_connection(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """Nobody waits for it until then; the mark from which it is read stays, also for a process that comes later."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
    ask(server, channel, ada, "one")
    server.fail("list_messages", "503", times=catching_up.TRIES)
    async with house(tmp_path, server) as h:
        ask(server, channel, ada, "two")
        await h.answered(channel, "You said: hello", "You said: two")
    async with house(tmp_path, server) as h:
        await h.answered(channel, "You said: hello", "You said: two", "You said: one")


@pytest.mark.parametrize("how", ["503", "drop"])
async def test_a_member_who_cannot_be_looked_up_for_a_while_is_heard_later(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel, how: Kind
) -> None:
    """What is read back does not say what roles its author has; who may is asked only when that is known."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
    ask(server, channel, ada, "one")
    server.fail("get_guild_member", how, times=intake.TRIES * 2)
    async with house(tmp_path, server) as h:
        await h.answered(channel, "You said: hello", "You said: one")


async def test_a_client_that_dies_while_it_reads_gives_nothing_up(
    tmp_path: Path, server: DiscordServer, ada: User, channel: Channel
) -> None:
    """The next one begins anew, and what it is told comes behind what was missed."""
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
    ask(server, channel, ada, "one", "two")
    stuck = server.fail("list_messages", "hang", seconds=3600)
    async with house(tmp_path, server, caught_up=False) as h:
        await server.wait_for(lambda: stuck.happened, "the reading")
        begun = len(server.ws.identified)
        server.ws.unparsable()
        await server.wait_for(lambda: len(server.ws.identified) > begun, "another client")
        ask(server, channel, ada, "three")
        await h.answered(channel, *(f"You said: {word}" for word in ("hello", "one", "two", "three")))


async def test_a_next_process_knows_what_the_last_one_has_done(
    tmp_path: Path, server: DiscordServer, ada: User, guild: Guild, channel: Channel
) -> None:
    """The commands are registered once; of a guild that it was removed from meanwhile nothing is kept."""
    elsewhere = server.world.guild("Elsewhere", ada)
    lost = elsewhere.text("general")
    async with house(tmp_path, server) as h:
        await heard(h, channel, ada)
        await heard(h, lost, ada, "remember me")
    elsewhere.leave(server.world.bot)
    async with house(tmp_path, server) as h:
        await heard(h, guild.text("other"), ada)
        await h.settled()
        conversation = await h.app.store.conversation(h.key(lost))
        assert await h.app.store.history(conversation.head) == []
        kept = await h.app.store.conversation(h.key(channel))
        assert len(await h.app.store.history(kept.head)) == 2
    assert len(server.called("bulk_set_application_commands")) == 1
    held = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("hearth.db*"))
    assert b"remember me" not in held
