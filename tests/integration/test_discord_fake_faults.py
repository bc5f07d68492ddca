"""The Discord stand-in makes the trouble that a test asks for, and no other."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import aiohttp
import discord
import pytest

from tests.discord_fake import Limit
from tests.discord_fake.client import listening, talking
from tests.discord_fake.server import serving


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What discord.py waits between its tries; it goes on at once."""
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await real(0)

    monkeypatch.setattr("discord.http.asyncio.sleep", sleep)
    yield slept


async def test_a_429_is_waited_for_and_tried_again() -> None:
    async with talking() as (server, client):
        ada, bob = server.world.user("Ada"), server.world.user("Bob")
        chat, other = server.world.dm(ada), server.world.dm(bob)
        fault = server.fail("create_message", "429", retry_after=0.05, times=2, channel=chat.id)
        await client.get_partial_messageable(other.id).send("a")
        assert fault.happened == 0
        await client.get_partial_messageable(chat.id).send("a")
        assert (fault.happened, chat.texts_of_bot()) == (2, ["a"])
        assert [call.ok for call in server.called("create_message")] == [True, False, False, True]


async def test_a_page_of_cloudflare_is_an_error_at_once() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        server.fail("create_message", "cloudflare")
        with pytest.raises(discord.HTTPException) as caught:
            await client.get_partial_messageable(chat.id).send("a")
        assert (caught.value.status, chat.from_bot) == (429, [])


async def test_a_global_429_stops_all() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        server.fail("create_message", "429", retry_after=0.2, scope="global")
        first = asyncio.create_task(client.get_partial_messageable(chat.id).send("a"))
        await server.wait_for(lambda: server.called("create_message"))
        await asyncio.sleep(0.05)
        await client.fetch_user(server.world.bot.id)
        await first
        assert chat.texts_of_bot() == ["a"]
        assert server.called("get_user")[0].at - server.called("create_message")[0].at >= 0.15


@pytest.mark.parametrize("kind", ["500", "502"])
async def test_a_proxys_page_is_tried_again(kind: str, no_sleep: list[float]) -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        server.fail("create_message", kind, times=2)  # type: ignore[arg-type]
        await client.get_partial_messageable(chat.id).send("a")
        assert (chat.texts_of_bot(), no_sleep[:2]) == (["a"], [1, 3])


async def test_503_is_an_error_at_once() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        server.fail("create_message", "503")
        with pytest.raises(discord.DiscordServerError):
            await client.get_partial_messageable(chat.id).send("a")


async def test_a_connection_can_end_before_or_after_it_is_done() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        for kind, left in [("drop", []), ("lost", ["a"])]:
            server.fail("create_message", kind)  # type: ignore[arg-type]
            with pytest.raises(aiohttp.ClientError):
                await client.get_partial_messageable(chat.id).send("a")
            assert chat.texts_of_bot() == left
        assert [call.ok for call in server.called("create_message")] == [False, True]


async def test_a_lost_acknowledgement_and_a_nonce_leave_one_message() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        there = client.get_partial_messageable(chat.id)
        server.fail("create_message", "lost")
        with pytest.raises(aiohttp.ClientError):
            await there.send("a", nonce="n1")
        again = await there.send("a", nonce="n1")
        assert [message.id for message in chat.from_bot] == [again.id]


async def test_an_answer_can_come_late_or_be_garbage() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        there = client.get_partial_messageable(chat.id)
        server.fail("create_message", "hang", seconds=3600)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(there.send("a"), 0.1)
        server.fail("create_message", "garbage")
        with pytest.raises(ValueError, match="Unterminated"):
            await there.send("b")
        assert chat.texts_of_bot() == ["a", "b"]


async def test_any_refusal_can_be_asked_for() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        server.fail("*", "refuse", status=403, code=20028, message="The write action is rate limited")
        with pytest.raises(discord.Forbidden) as caught:
            await client.get_partial_messageable(chat.id).send("a")
        assert caught.value.code == 20028


async def test_a_download_can_fail() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        there = client.get_partial_messageable(chat.id)
        sent = await there.send(file=discord.File(io.BytesIO(b"a"), "a.txt"))
        server.fail("cdn", "500")
        with pytest.raises(discord.HTTPException):
            await sent.attachments[0].read()
        assert await sent.attachments[0].read() == b"a"


async def test_limits_of_rate_are_off_until_a_test_turns_them_on() -> None:
    async with talking() as (server, client):
        chat = server.world.dm(server.world.user("Ada"))
        for number in range(20):
            await client.get_partial_messageable(chat.id).send(str(number))
        assert server.rates.refused == []


async def test_a_client_that_reads_the_headers_is_never_refused() -> None:
    async with talking() as (server, client):
        server.rates.enable(create_message=Limit(2, 0.2))
        chat = server.world.dm(server.world.user("Ada"))
        other = server.world.dm(server.world.user("Bob"))
        for number in range(5):
            await client.get_partial_messageable(chat.id).send(str(number))
            await client.get_partial_messageable(other.id).send(str(number))
        assert server.rates.refused == []
        assert chat.texts_of_bot() == [*"01234"]
        times = [call.at for call in server.called("create_message") if call.channel == chat.id]
        assert times[4] - times[0] >= 0.39


async def test_who_does_not_read_the_headers_gets_429() -> None:
    async with serving() as server, aiohttp.ClientSession() as session:
        server.rates.enable()
        chat = server.world.dm(server.world.user("Ada"))
        headers = {"Authorization": f"Bot {server.token}", "User-Agent": "DiscordBot (test, 1)"}
        statuses = []
        for _ in range(6):
            url = f"{server.api_base}/channels/{chat.id}/messages"
            async with session.post(url, json={"content": "a"}, headers=headers) as response:
                statuses.append(response.status)
        assert statuses == [200, 200, 200, 200, 200, 429]
        assert (response.headers["X-RateLimit-Scope"], response.headers["X-RateLimit-Remaining"]) == ("user", "0")
        assert server.rates.refused[0][:2] == ("create_message", str(chat.id))
        server.world.scene.pass_(5)
        async with session.post(url, json={"content": "a"}, headers=headers) as response:
            assert response.status == 200


async def test_the_limit_of_all_requests_together_leaves_interactions_out() -> None:
    async with talking() as (server, client):
        server.rates.enable()
        server.rates.overall = Limit(2, 0.3)
        begin = server.world.scene.now()
        for number in range(3):
            await client.fetch_user(server.world.user(f"User {number}").id)
        assert [operation for operation, _, _ in server.rates.refused] == ["get_user"]
        assert server.called("get_user")[-1].at - begin >= 0.25
        server.rates.overall = Limit(0, 0.3)
        assert server.rates.count("execute_webhook", "1", server.world.scene.now()) is None


async def test_a_client_must_say_that_it_is_a_bot() -> None:
    async with serving() as server, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bot {server.token}"}
        async with session.get(server.api_base + "/users/@me", headers=headers) as response:
            assert response.status == 403
        server.expect_violation("40333")


async def test_a_violation_fails_the_fixture() -> None:
    with pytest.raises(AssertionError, match="50006"):
        async with serving() as server, listening(server) as client:
            chat = server.world.dm(server.world.user("Ada"))
            with pytest.raises(discord.HTTPException):
                await client.get_partial_messageable(chat.id).send("")
