"""Updates reach an unpatched bot from the Telegram stand-in as from the platform."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from telegram import Update
from telegram.error import BadRequest, Conflict

from tests.telegram import TelegramServer
from tests.telegram.client import bot_on, talking
from tests.telegram.webhook import SECRET_HEADER


def texts(updates: tuple[Update, ...]) -> list[str]:
    return [str(update.effective_message.text) for update in updates if update.effective_message]


async def test_an_update_comes_again_until_a_later_one_is_asked_for() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        for word in ("one", "two", "three"):
            chat.say(ada, word)
        first = await bot.get_updates(limit=2)
        assert texts(first) == ["one", "two"]
        assert texts(await bot.get_updates(offset=first[0].update_id)) == ["one", "two", "three"]
        assert texts(await bot.get_updates(offset=first[0].update_id + 1)) == ["two", "three"]
        assert texts(await bot.get_updates()) == ["two", "three"]
        assert texts(await bot.get_updates(offset=-1)) == ["three"]
        assert texts(await bot.get_updates()) == ["three"]


async def test_a_long_poll_ends_with_the_first_update() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        waiting = asyncio.create_task(bot.get_updates(timeout=50))
        await server.wait_for(lambda: server.queue.polled, "the poll")
        chat.say(ada, "hello")
        assert texts(await waiting) == ["hello"]


async def test_a_long_poll_without_news_ends_with_nothing() -> None:
    async with talking() as (_, bot):
        assert await bot.get_updates(timeout=1) == ()


async def test_a_second_poller_sends_the_first_away() -> None:
    async with talking() as (server, bot), bot_on(server) as other:
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        first = asyncio.create_task(bot.get_updates(timeout=50))
        await server.wait_for(lambda: server.queue.polled, "the first poll")
        second = asyncio.create_task(other.get_updates(timeout=50))
        with pytest.raises(Conflict, match="make sure that only one bot instance is running"):
            await first
        await server.wait_for(lambda: server.queue.polled, "the second poll")
        chat.say(ada, "hello")
        assert texts(await second) == ["hello"]


async def test_only_the_kinds_that_are_asked_for_come_and_the_choice_stays() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        chat = server.world.private(ada)
        await bot.get_updates(allowed_updates=["edited_message"])
        await bot.get_updates()
        chat.edit(chat.say(ada, "one"), "two")
        assert texts(await bot.get_updates()) == ["two"]
        assert len(server.queue.unwanted) == 1
        await bot.get_updates(allowed_updates=[])
        chat.say(ada, "three")
        assert texts(await bot.get_updates()) == ["two", "three"]


async def test_an_update_can_come_twice_with_one_number() -> None:
    async with talking() as (server, bot):
        ada = server.world.user("Ada")
        server.world.private(ada).say(ada, "one")
        [update] = await bot.get_updates()
        assert await bot.get_updates(offset=update.update_id + 1) == ()
        server.repeat(update.update_id)
        [again] = await bot.get_updates(offset=update.update_id + 1)
        assert again.update_id == update.update_id
        assert await bot.get_updates(offset=update.update_id + 1) == ()


@dataclass
class Receiver:
    """Where a webhook leads. It answers `statuses`, then 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[str | None] = field(default_factory=list)
    attempts: int = 0
    answer: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.attempts += 1
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        self.secrets.append(request.headers.get(SECRET_HEADER))
        self.got.append(json.loads(await request.read()))
        return web.Response(text=self.answer)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def numbers(receiver: Receiver) -> list[int]:
    return [update["update_id"] for update in receiver.got]


def say(server: TelegramServer, *words: str) -> None:
    ada = next(iter(server.world.scene.users.values()), None) or server.world.user("Ada")
    for word in words:
        server.world.private(ada).say(ada, word)


async def test_a_webhook_gets_each_update_in_order_with_the_secret_and_again_until_it_takes_it() -> None:
    async with receiving() as receiver, talking() as (server, bot):
        receiver.statuses = [500, 403]
        say(server, "one", "two")
        await bot.set_webhook(receiver.url, secret_token="s3cret", allowed_updates=["message"])
        await server.wait_for(lambda: not server.queue.pending, "the deliveries")
        assert [update["message"]["text"] for update in receiver.got] == ["one", "two"]
        assert receiver.secrets == ["s3cret", "s3cret"]
        assert [status for _, status in server.webhook.deliveries] == [500, 403, 200, 200]
        info = await bot.get_webhook_info()
        assert (info.url, info.pending_update_count, info.allowed_updates) == (receiver.url, 0, ("message",))
        assert info.last_error_message == "Wrong response from the webhook: 403 Forbidden"
        server.repeat()
        await server.wait_for(lambda: len(receiver.got) == 3, "the repetition")
        assert numbers(receiver)[1] == numbers(receiver)[2]


async def test_a_method_in_an_answer_to_the_webhook_fails_the_test() -> None:
    async with receiving() as receiver:
        receiver.answer = '{"method":"sendMessage","chat_id":1,"text":"a"}'
        with pytest.raises(AssertionError, match="does not call methods in answers"):
            async with talking() as (server, bot):
                await bot.set_webhook(receiver.url)
                say(server, "one")
                await server.wait_for(lambda: not server.queue.pending, "the delivery")


async def test_a_webhook_and_getupdates_exclude_each_other() -> None:
    async with receiving() as receiver, talking() as (server, bot):
        waiting = asyncio.create_task(bot.get_updates(timeout=50))
        await server.wait_for(lambda: server.queue.polled, "the poll")
        await bot.set_webhook(receiver.url)
        with pytest.raises(Conflict, match="terminated by setWebhook request"):
            await waiting
        with pytest.raises(Conflict, match="can't use getUpdates method while webhook is active"):
            await bot.get_updates()
        await bot.delete_webhook()
        say(server, "one")
        assert texts(await bot.get_updates()) == ["one"]
        assert receiver.attempts == 0


async def test_pending_updates_can_be_dropped() -> None:
    async with talking() as (server, bot):
        say(server, "one")
        await bot.delete_webhook(drop_pending_updates=True)
        assert await bot.get_updates() == ()


async def test_a_webhook_that_nobody_answers_is_tried_again() -> None:
    async with talking() as (server, bot):
        async with receiving() as gone:
            url = gone.url
        say(server, "one")
        await bot.set_webhook(url)
        await server.wait_for(lambda: len(server.webhook.deliveries) > 1, "two attempts")
        assert {status for _, status in server.webhook.deliveries} == {0}
        assert len(server.queue.pending) == 1


@pytest.mark.parametrize(
    ("url", "secret", "words"),
    [
        ("http://example.org/hook", "", "An HTTPS URL must be provided for webhook"),
        ("http://127.0.0.1:1/hook", "spaces are not", "secret token contains unallowed characters"),
        ("http://127.0.0.1:1/hook", "a" * 257, "secret token contains unallowed characters"),
    ],
)
async def test_a_bad_webhook_is_refused(url: str, secret: str, words: str) -> None:
    async with talking() as (_, bot):
        with pytest.raises(BadRequest, match=rf"(?i){words}"):
            await bot.set_webhook(url, secret_token=secret or None)
