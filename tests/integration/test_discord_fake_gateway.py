"""The Discord stand-in's gateway: how clients begin, go on, and what goes wrong on the line."""

from __future__ import annotations

import aiohttp
import discord
import pytest
from discord.backoff import ExponentialBackoff

from tests.discord_fake import Intent, serving
from tests.discord_fake.client import Listener, intents, listening, options, pointed_at, running


class Sharded(discord.AutoShardedClient):
    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """discord.py waits for seconds before it tries again; these tests are not about that."""
    monkeypatch.setattr(ExponentialBackoff, "delay", lambda _: 0.01)


async def test_the_connection_is_compressed_and_identifies_once() -> None:
    async with serving() as server, listening(server) as client:
        assert [connection.compressed for connection in server.ws.connections] == [True]
        assert [data["token"] for data in server.ws.identified] == [server.token]
        assert server.ws.identified[0]["intents"] == client.intents.value
        assert server.ws.heartbeats == 1
        await server.wait_for(lambda: server.ws.pending == 0)


async def test_heartbeats_are_acknowledged() -> None:
    async with serving() as server:
        server.ws.heartbeat = 0.02
        async with listening(server) as client:
            await server.wait_for(lambda: server.ws.heartbeats > 3 and client.latency < 10)


@pytest.mark.parametrize(
    ("intents_asked", "allowed", "error"),
    [(intents(), Intent.GUILD_MEMBERS, discord.PrivilegedIntentsRequired), (intents(), Intent.MESSAGE_CONTENT, None)],
)
async def test_an_intent_that_is_not_switched_on_ends_the_client(
    intents_asked: discord.Intents, allowed: Intent, error: type[Exception] | None
) -> None:
    async with serving(privileged=allowed) as server:
        client = Listener(intents=intents_asked)
        async with running(server, client) as task:
            await server.wait_for(lambda: task.done() or client.of("ready"))
            assert (type(task.exception()) if task.done() else None) is error


async def test_a_wrong_token_is_closed_with_4004() -> None:
    async with serving() as server:
        client = Listener()
        with pointed_at(server):
            await client.login(server.token)
            client.http.token = "wrong"
            with pytest.raises(discord.ConnectionClosed) as caught:
                await client.connect()
            assert caught.value.code == 4004


@pytest.mark.parametrize("how", ["4000", "1001", "drop", "reconnect", "invalidate"])
async def test_a_lost_connection_is_resumed_with_what_was_missed(how: str) -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        chat = server.world.dm(ada)
        if how.isdecimal():
            server.ws.close(int(how))
        elif how == "drop":
            server.ws.drop()
        elif how == "reconnect":
            server.ws.reconnect()
        else:
            server.ws.invalidate(resumable=True)
        chat.say(ada, "meanwhile")
        await server.wait_for(lambda: client.contents == ["meanwhile"])
        await server.wait_for(lambda: client.of("resumed"))
        assert (len(server.ws.identified), len(server.ws.resumed)) == (1, 1)


@pytest.mark.parametrize("how", ["invalidate", "4009", "too old"])
async def test_a_session_that_is_over_begins_anew(how: str) -> None:
    async with serving() as server, listening(server) as client:
        if how == "invalidate":
            server.ws.invalidate()
        elif how == "4009":
            server.ws.close(4009)
        else:
            server.ws.refuse()
            server.ws.drop()
            await server.wait_for(lambda: not server.ws.online)
            server.world.scene.pass_(600)
            server.ws.accept()
        await server.wait_for(lambda: len(client.of("ready")) == 2)
        assert len(server.ws.identified) == 2
        assert client.of("resumed") == []


async def test_a_forgotten_session_is_told_until_its_connection_ends() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        chat = server.world.dm(ada)
        server.ws.forget()
        chat.say(ada, "heard")
        await server.wait_for(lambda: client.contents == ["heard"])
        server.ws.close(4000)
        await server.wait_for(lambda: len(client.of("ready")) == 2)
        assert (len(server.ws.resumed), client.of("resumed")) == (1, [])


async def test_after_an_outage_what_was_missed_never_comes() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        chat = server.world.dm(ada)
        server.ws.outage()
        chat.say(ada, "missed")
        await server.wait_for(lambda: server.ws.attempts >= 2)
        server.ws.accept()
        await server.wait_for(lambda: len(client.of("ready")) == 2)
        chat.say(ada, "heard")
        await server.wait_for(lambda: client.contents)
        assert client.contents == ["heard"]


@pytest.mark.parametrize("how", ["503", "drop"])
async def test_a_first_connect_that_is_refused_ends_the_client(how: str) -> None:
    async with serving() as server:
        server.ws.refuse(2 if how == "drop" else 1, how)  # type: ignore[arg-type]
        client = Listener()
        async with running(server, client) as task:
            await server.wait_for(task.done)
            assert isinstance(task.exception(), AttributeError)


async def test_an_unparsable_event_ends_the_client() -> None:
    async with serving() as server:
        client = Listener()
        async with running(server, client) as task:
            await server.wait_for(lambda: client.of("ready"))
            server.ws.unparsable()
            await server.wait_for(task.done)
            assert isinstance(task.exception(), KeyError)


async def test_an_event_can_come_twice() -> None:
    async with serving() as server, listening(server) as client:
        ada = server.world.user("Ada")
        said = server.world.dm(ada).say(ada, "hello")
        await server.wait_for(lambda: client.contents)
        server.ws.repeat()
        await server.wait_for(lambda: len(client.contents) == 2)
        assert [message.id for message in client.of("message")] == [said.id, said.id]


async def test_a_silent_line_is_noticed_by_the_client() -> None:
    async with serving() as server:
        server.ws.heartbeat = 0.05
        async with listening(server, heartbeat_timeout=0.3) as client:
            server.ws.freeze()
            await server.wait_for(lambda: client.of("resumed"))
            assert len(server.ws.identified) == 1


async def test_a_silent_client_is_closed_with_4009() -> None:
    async with serving() as server:
        server.ws.heartbeat = 0.02
        async with aiohttp.ClientSession() as session, session.ws_connect(server.gateway + "?v=10&encoding=json") as ws:
            assert (await ws.receive_json())["op"] == 10
            await ws.receive()
            assert ws.close_code == 4009


async def test_what_no_client_sends_is_closed_and_kept() -> None:
    async with serving() as server, aiohttp.ClientSession() as session:
        for sent, code in [("{", 4002), ('{"op": 3, "d": {}}', 4003), ('{"op": 2, "d": {"token": "x"}}', 4004)]:
            async with session.ws_connect(server.gateway + "?v=10&encoding=json") as ws:
                await ws.receive_json()
                await ws.send_str(sent)
                await ws.receive()
                assert ws.close_code == code
        server.expect_violation("4002")
        server.expect_violation("4003")


async def test_shards_get_their_guilds_and_the_first_one_the_dms() -> None:
    async with serving() as server:
        server.ws.handshake.shards = 2
        server.ws.handshake.concurrency = 2
        ada = server.world.user("Ada")
        guilds = [server.world.guild(name, ada) for name in ("Ferns", "Mosses", "Lichens")]
        client = Sharded(**options())
        async with running(server, client):
            await server.wait_for(client.is_ready)
            assert sorted(data["shard"] for data in server.ws.identified) == [[0, 2], [1, 2]]
            assert {guild.id for guild in client.guilds} == {guild.id for guild in guilds}
            assert all(guild.shard_id == (guild.id >> 22) % 2 for guild in client.guilds)
            before = {session.shard[0]: session.sequence for session in server.ws.online}
            server.world.dm(ada).say(ada, "hello")
            after = {session.shard[0]: session.sequence for session in server.ws.online}
            assert (after[0] > before[0], after[1] == before[1]) == (True, True)


async def test_identifying_too_fast_is_an_invalid_session() -> None:
    async with serving() as server:
        server.ws.handshake.strict_starts = True
        async with listening(server):
            assert server.ws.handshake.limits["remaining"] == 999
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(server.gateway + "?v=10&encoding=json") as ws,
            ):
                await ws.receive_json()
                await ws.send_json({"op": 2, "d": {"token": server.token, "intents": 1, "properties": {}}})
                assert await ws.receive_json() == {"op": 9, "d": False}


async def test_members_can_be_asked_for() -> None:
    async with serving() as server:
        ada = server.world.user("Ada")
        server.world.guild("Ferns", ada)
        async with listening(server) as client:
            found = await client.guilds[0].query_members("ad")
            assert [member.id for member in found] == [ada.id]


async def test_a_presence_is_seen() -> None:
    async with serving() as server, listening(server) as client:
        await client.change_presence(status=discord.Status.idle)
        await server.wait_for(lambda: server.ws.presences)
        assert server.ws.presences[0]["status"] == "idle"
