"""The webhook: Telegram brings updates, and hears 200 once they are committed."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.telegram.adapter import Telegram
from adapters.telegram.webhook import MOST_BYTES, SECRET_HEADER, secret_of
from bot.config import TelegramConfig
from bot.errors import DatabaseError, StartError
from bot.messages import Event, Message
from tests.ports import free_port
from tests.telegram import Chat, TelegramServer, User, serving
from tests.telegram_house import telegram_config, telegram_house


@pytest.fixture
async def server() -> AsyncIterator[TelegramServer]:
    async with serving(privacy=False) as running:
        yield running


@pytest.fixture
def hook() -> dict[str, Any]:
    """Where the webhook is heard."""
    port = free_port()
    return {"webhook_url": f"http://127.0.0.1:{port}/telegram", "webhook_port": port}


@pytest.fixture
def ada(server: TelegramServer) -> User:
    return server.world.user("Ada")


@pytest.fixture
def private(server: TelegramServer, ada: User) -> Chat:
    return server.world.private(ada)


async def post(url: str, **how: Any) -> int:
    async with aiohttp.ClientSession() as http, http.post(url, **how) as response:
        assert await response.text() == "" or response.status >= 400
        return response.status


async def test_what_is_brought_is_answered(
    tmp_path: Path, server: TelegramServer, hook: dict[str, Any], private: Chat, ada: User
) -> None:
    async with telegram_house(tmp_path, server, telegram=hook) as h:
        private.say(ada, "hello")
        await h.answered(private, "You said: hello")
        server.repeat()
        private.say(ada, "again")
        await h.answered(private, "You said: hello", "You said: again")
    assert server.webhook.max_connections == 1
    assert not server.called("getUpdates")
    assert {status for _, status in server.webhook.deliveries} == {200}


async def test_what_the_database_refuses_is_brought_again(
    tmp_path: Path, server: TelegramServer, hook: dict[str, Any], private: Chat, ada: User
) -> None:
    refusals, heard = [DatabaseError("the disk is full")] * 2, []

    async def receive(event: Event) -> None:
        if refusals:
            raise refusals.pop()
        assert isinstance(event, Message)
        heard.append(event.text)

    adapter = Telegram(telegram_config(tmp_path, server, telegram=hook).telegram)
    task = asyncio.create_task(adapter.listen(receive))
    private.say(ada, "one")
    private.say(ada, "two")
    await server.wait_for(lambda: heard == ["one", "two"], "both")
    await server.wait_for(lambda: not server.queue.pending, "the acknowledgement")
    assert [status for _, status in server.webhook.deliveries] == [503, 503, 200, 200]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nobody_else_is_heard(
    tmp_path: Path, server: TelegramServer, hook: dict[str, Any], private: Chat, ada: User
) -> None:
    sent = private.say(ada, "first").json
    update = {"update_id": 1, "message": sent}
    async with telegram_house(tmp_path, server, telegram=hook) as h:
        await h.answered(private, "You said: first")
        url, secret = hook["webhook_url"], {SECRET_HEADER: secret_of(h.app.config.telegram)}
        assert await post(url, json=update) == 403
        assert await post(url, json=update, headers={SECRET_HEADER: "wrong"}) == 403
        assert await post(url, json=update, headers={SECRET_HEADER: "wröng".encode().decode("latin-1")}) == 403
        assert await post(url + "/elsewhere", json=update, headers=secret) == 404
        assert await post(url, data=b"no json", headers=secret) == 400
        assert await post(url, json=[1], headers=secret) == 400
        assert await post(url, data=b"[" * 100_000, headers=secret) == 400
        assert await post(url, data=io.BytesIO(b"x" * (MOST_BYTES + 1)), headers=secret) == 413
        assert await post(url, json={"update_id": 2, "unheard_of": {"x": 1}}, headers=secret) == 200
        await h.settled()
        assert private.texts_of_bot() == ["You said: first"]


async def test_a_port_that_is_taken_ends_the_start_with_words(
    tmp_path: Path, server: TelegramServer, hook: dict[str, Any]
) -> None:
    async def receive(_: Event) -> None:
        raise AssertionError("nothing was said")

    adapter = Telegram(telegram_config(tmp_path, server, telegram=hook).telegram)
    with socket.socket() as other:
        other.bind(("127.0.0.1", hook["webhook_port"]))
        other.listen()
        with pytest.raises(StartError, match=r"telegram\.webhook_port"):
            await adapter.listen(receive)
    await adapter.aclose()


def test_the_secret_is_made_of_the_token_or_configured() -> None:
    def config(token: str, secret: str = "") -> TelegramConfig:
        return TelegramConfig.model_validate({"token": token, "webhook_secret": secret})

    one, other = secret_of(config("1:" + "a" * 35)), secret_of(config("1:" + "b" * 35))
    assert one != other
    assert len(one) == 64
    assert "a" * 35 not in one
    assert secret_of(config("1:" + "a" * 35, "0123456789abcdef")) == "0123456789abcdef"
